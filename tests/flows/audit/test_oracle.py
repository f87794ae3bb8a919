import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from connectors.wiring import Lab
from flows.audit.conservation import SiteAccount, accounts
from flows.audit.oracle import CHECKS, Check, audit, rows_to_look_at
from flows.audit.snapshots import PORTION, Books
from flows.journey import STAGES
from models.base import Base
from models.errors import TransientError
from models.tables.case import Patient
from models.tables.step import Step
from tests.flows.audit.story import books_of, breaches
from tests.small_lab import (
    ON_BOTH,
    SmallSlide,
    message_arrives,
    order,
    run_until_calm,
    scan_arrives,
    shifts_of,
    small_lab,
)

AT_ONCE = timedelta(0)


def everything(lab: Lab) -> dict[str, list[Any]]:
    with lab.database.read() as session:
        return {table.name: sorted(map(repr, session.execute(select(table)))) for table in Base.metadata.sorted_tables}


def test_the_books_of_a_laboratory_that_was_lived_in_agree(lab: Lab) -> None:
    findings = list(audit(books_of(lab)))
    assert [finding.check for finding in findings] == list(CHECKS)
    assert [finding.sentences for finding in findings] == [()] * len(CHECKS)


def test_each_site_accounts_for_every_scan_it_received(lab: Lab) -> None:
    assert accounts(books_of(lab)) == [
        SiteAccount("site-a", 12, moving=3, archived=5, set_aside=1, superseded=1, cancelled=1, withdrawn=1)
    ]


def test_an_audit_changes_nothing(lab: Lab) -> None:
    before = everything(lab)
    list(audit(books_of(lab)))
    assert everything(lab) == before


@ON_BOTH
def test_the_books_agree_after_every_single_turn_of_every_stage(tmp_path: Path, database_url: str) -> None:
    lab = small_lab(tmp_path, database_url)
    assert breaches(lab) == []
    message_arrives(lab, order("26B0001", "26B0001-A1-1", "26B0001-A1-2", stain="HE"))
    scan_arrives(lab, SmallSlide(codes=("26B0001-A1-1",)))
    scan_arrives(lab, SmallSlide(codes=("26B0001-A1-2",), quality="rescan"))
    scan_arrives(lab, SmallSlide(trouble="rejected"))
    assert breaches(lab) == []
    turns = 0
    with shifts_of(lab) as shifts:
        while any(shift.has_work() for shift in shifts):
            for shift in shifts:
                turns += shift.run()
                assert breaches(lab) == []
    assert turns > len(STAGES)
    lab.database.close()


@ON_BOTH
def test_the_books_agree_while_a_laboratory_works(tmp_path: Path, database_url: str) -> None:
    lab = small_lab(tmp_path, database_url)
    names = [f"26B0001-A1-{number}" for number in range(1, 11)]
    message_arrives(lab, order("26B0001", *names, stain="HE"))
    for name in names:
        scan_arrives(lab, SmallSlide(codes=(name,)))
    working = threading.Thread(target=run_until_calm, args=(lab,))
    working.start()
    looked = 0
    while working.is_alive():
        looked += 1
        findings = list(audit(books_of(lab), second_look_after=timedelta(seconds=0.5)))
        assert [sentence for finding in findings for sentence in finding.sentences] == []
    working.join()
    assert looked > 0
    assert accounts(books_of(lab)) == [SiteAccount("site-a", 10, archived=10)]
    lab.database.close()


def test_what_is_only_found_at_the_first_look_was_under_way(lab: Lab) -> None:
    looks = iter([["file 1 is on its way", "file 2 is lost"], ["file 2 is lost"]])

    def found(_books: Books) -> Iterator[str]:
        yield from next(looks)

    check = Check("files", "no file is lost", found)
    (finding,) = audit(books_of(lab), (check,), second_look_after=AT_ONCE)
    assert finding.sentences == ("file 2 is lost",)


def test_a_table_of_many_portions_is_looked_at_row_by_row(lab: Lab) -> None:
    bare = [{"id": f"{number:036d}", "nhs_number_status": ""} for number in range(2 * PORTION + 1)]
    with lab.database.write("test") as session:
        session.execute(insert(Patient), bare)
    looked: list[int] = []
    books = books_of(lab)
    counting = Books(books.settings, books.database, books.ids, books.spool, books.archive, looked=looked.append)
    patients = next(check for check in CHECKS if check.name == "patient facts")
    assert list(patients.breaches(counting)) == []
    assert sum(looked) == 2 * PORTION + 2
    with lab.database.write("test") as session:
        last = {"family_name": "Nobody said so"}
        session.execute(update(Patient).where(Patient.id == bare[-1]["id"]).values(**last))
    assert list(patients.breaches(counting)) == [f"patient {bare[-1]['id']} is not what its facts say: family_name"]


def test_the_progress_of_an_audit_ends_at_what_it_said_it_would_look_at(lab: Lab) -> None:
    looked: list[int] = []
    books = books_of(lab)
    counting = Books(books.settings, books.database, books.ids, books.spool, books.archive, looked=looked.append)
    list(audit(counting))
    assert sum(looked) == rows_to_look_at(books)


def test_a_sample_reads_back_every_object_of_a_small_archive(lab: Lab) -> None:
    path = min((lab.settings.home / "archive").glob("2*/*/*.dcm"))
    path.chmod(0o600)
    path.write_bytes(path.read_bytes() + b"!")
    archive = next(check for check in CHECKS if check.name == "archive")
    assert len(list(archive.breaches(books_of(lab, full=False)))) == 1


def test_an_archive_that_is_away_is_no_disagreement_but_no_audit_either(lab: Lab) -> None:
    (lab.settings.home / "archive").rename(lab.settings.home / "unmounted")
    with pytest.raises(TransientError, match="mount it"):
        list(audit(books_of(lab)))


def test_waits_of_a_laboratory_that_stands_still_are_not_overdue(lab: Lab) -> None:
    """While no worker is alive nobody ends a wait: the books are as right as when the last one stopped."""
    with lab.database.write("test") as session:
        later = select(Step.waiting_since).where(Step.state == "waiting").limit(1).scalar_subquery()
        session.execute(update(Step).where(Step.state == "waiting").values(waiting_until=later))
    assert breaches(lab, "time") == []
