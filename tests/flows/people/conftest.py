"""A laboratory of three sites in three zones, and folders of files about its people."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

from connectors.settings import Settings
from connectors.settings_doors import LimsPeer
from connectors.settings_readers import Reader
from connectors.settings_site import SiteRules
from flows.actions import Desk, Person
from flows.actions.peopling import export_people, import_people, preview_people
from flows.people.roster.preview import Preview
from flows.people.roster.sheets import SHEETS
from flows.people.sync import sync_people
from models.opaque import OpaqueIds
from models.tables.reading import Pathologist
from tests.migrated import migrated

ANN = Person("Ann Example", "the new rota")
SITES = ("site-a", "site-b", "site-c")
ZONES = ("Europe/London", "Pacific/Auckland", "America/New_York")


def settings_of(home: Path, url: str, *readers: Reader) -> Settings:
    return Settings(
        home=home,
        installation_key="5" * 64,  # type: ignore[arg-type] # pydantic makes it a secret
        database_url=url,
        sites=tuple(
            SiteRules(id=site, name=site.upper(), zone=zone, lims="lims")
            for site, zone in zip(SITES, ZONES, strict=True)
        ),
        lims=(LimsPeer(name="lims"),),
        listeners=(),
        scanners=(),
        readers=readers,
    )


@dataclass(frozen=True, repr=False)
class Office:
    """Where people are kept: files are written by name, checked, brought in and written out."""

    desk: Desk
    folder: Path

    def files(self, **texts: str) -> Path:
        """Have a folder hold these files and no others; a text of no line but the header is given as empty."""
        self.folder.mkdir(exist_ok=True)
        for path in self.folder.iterdir():
            path.unlink()
        for part, text in texts.items():
            lines = [line.strip() for line in text.strip().splitlines()]
            (self.folder / f"{part}.csv").write_text("\n".join([_HEADERS[part], *lines]) + "\n", encoding="utf-8")
        return self.folder

    def faults(self, **texts: str) -> list[tuple[str, int, str]]:
        """Return file, row and column of everything that is wrong with these files."""
        return [(one.file, one.row, one.column) for one in preview_people(self.desk, self.files(**texts)).faults]

    def sentences(self, **texts: str) -> list[str]:
        return [one.sentence for one in preview_people(self.desk, self.files(**texts)).faults]

    def brings_in(self, **texts: str) -> Preview:
        return import_people(self.desk, self.files(**texts), ANN)

    def written_out(self, name: str = "out") -> dict[str, str]:
        """Return the text of each file of an export."""
        folder = self.folder.parent / name
        names = export_people(self.desk, folder, overwrite=True)
        return {one: (folder / one).read_bytes().decode() for one in names}

    def pools(self) -> dict[str, str]:
        """Return the pool that each person is in."""
        with self.desk.database.read() as session:
            return {one.id: one.pool_id for one in session.scalars(select(Pathologist))}


_HEADERS = {sheet.part: ",".join(column.name for column in sheet.columns) for sheet in SHEETS}


@pytest.fixture
def office_at(tmp_path: Path) -> Iterator[Callable[..., Office]]:
    opened: list[Office] = []

    def at(url: str, *readers: Reader) -> Office:
        settings = settings_of(tmp_path, url, *readers)
        desk = Desk(migrated(url), settings, OpaqueIds(bytes(range(32))))
        opened.append(Office(desk, tmp_path / "in"))
        with desk.database.write("test") as session:
            sync_people(session, settings)
        return opened[-1]

    yield at
    for one in opened:
        one.desk.database.close()


@pytest.fixture
def office(database_url: str, office_at: Callable[..., Office]) -> Office:
    """A laboratory without anybody."""
    return office_at(database_url)
