"""The files of a roster: which there are, what their columns hold, how one is read and written (RFC 4180, UTF-8)."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from flows.people.roster.cells import (
    DAY,
    ID,
    LAST_DAY,
    LEVEL,
    NAMES,
    ONE_LINE,
    POINTS,
    SUBSPECIALTY,
    TIME,
    WEEKDAYS,
    WORD,
    YES_NO,
    Kind,
    optional,
    text_of,
)
from models.errors import RefusedError

_LARGEST_FILE: Final = 16 << 20
_MOST_ROWS: Final = 200_000
# More than any two of our cells; what is longer was never meant as one.
_LONGEST_CELL: Final = 10_000
# How much of a column's name is shown that is none of ours.
_SHOWN: Final = 64


@dataclass(frozen=True)
class Column:
    """A column: its name in the file, the field that it fills, and what an empty cell means; ``None``: none may be."""

    name: str
    field: str
    kind: Kind
    empty: str | None = None


@dataclass(frozen=True)
class Sheet:
    """One file, and the part of the roster that it holds."""

    part: str
    columns: tuple[Column, ...]

    @property
    def file(self) -> str:
        """The file's name."""
        return f"{self.part}.csv"


@dataclass(frozen=True, order=True)
class Fault:
    """What is wrong where; ``row`` is that of a spreadsheet, the header being 1, and 0 for the file as a whole."""

    file: str
    row: int
    column: str
    sentence: str


@dataclass(frozen=True)
class Said:
    """One row: its number, and what it says by field; a cell that can't be read is missing, and ``whole`` is false."""

    row: int
    values: Mapping[str, Any]
    whole: bool = True


@dataclass
class Folder:
    """What the files of a folder say; ``rows`` has only the parts whose file is there.

    ``named`` holds the first cells of all rows of a part, faulty ones too, so that what they name is not called
    unknown elsewhere. ``None``: the file can't be read, and nothing is known of what it names.
    """

    rows: dict[str, list[Said]] = field(default_factory=dict)
    named: dict[str, set[str] | None] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


_WHO: Final = Column("pathologist", "pathologist_id", ID)
_NOTHING: Final = ""

SHEETS: Final = (
    Sheet(
        "networks",
        (Column("id", "id", ID), Column("name", "name", ONE_LINE), Column("region", "region", text_of(64))),
    ),
    Sheet("network_aid", (Column("network", "network_id", ID), Column("aiding", "aiding_id", ID))),
    Sheet(
        "holidays",
        (Column("calendar", "calendar", ID), Column("day", "day", DAY), Column("name", "name", ONE_LINE, "holiday")),
    ),
    Sheet(
        "sites",
        (
            Column("site", "id", ID),
            Column("network", "network_id", optional(ID), _NOTHING),
            Column("calendar", "calendar", optional(ID), _NOTHING),
        ),
    ),
    Sheet(
        "pathologists",
        (
            Column("id", "id", ID),
            Column("name", "name", ONE_LINE),
            Column("site", "site_id", ID),
            Column("fte", "fte", POINTS, "1"),
            Column("points_a_week", "points_a_week", POINTS, "100"),
            Column("max_points", "max_points", optional(POINTS), _NOTHING),
            Column("active", "active", YES_NO, "yes"),
            Column("known_as", "known_as", NAMES, _NOTHING),
        ),
    ),
    Sheet(
        "competences",
        (
            _WHO,
            Column("subspecialty", "subspecialty", SUBSPECIALTY),
            Column("level", "level", LEVEL),
            Column("digital", "digital", YES_NO, "yes"),
            Column("glass", "glass", YES_NO, "yes"),
            Column("from", "valid_from", DAY),
            Column("to", "valid_to", optional(LAST_DAY), _NOTHING),
        ),
    ),
    Sheet(
        "sessions",
        (_WHO, Column("days", "weekdays", WEEKDAYS), Column("starts", "starts", TIME), Column("ends", "ends", TIME)),
    ),
    Sheet(
        "leave",
        (
            _WHO,
            Column("first_day", "first_day", DAY),
            Column("last_day", "last_day", DAY),
            Column("kind", "kind", WORD, "leave"),
        ),
    ),
    Sheet(
        "conflicts",
        (
            _WHO,
            Column("case", "case", text_of(401), _NOTHING),
            Column("patient", "patient", text_of(36), _NOTHING),
            Column("because", "because", text_of(2000)),
        ),
    ),
)
"""The files, in the order of ``lines.PARTS``."""

FILES: Final = tuple(sheet.file for sheet in SHEETS)


def read_folder(folder: Path) -> Folder:
    """Return what the files of a folder say, with every fault that a file shows by itself.

    Raises
    ------
    RefusedError
        It is no folder, or holds none of the files.
    """
    if not folder.is_dir():
        raise RefusedError("there is no such folder: give one that holds files as 'coverslip people export' writes")
    present = {path.name for path in folder.iterdir() if path.suffix.lower() == ".csv"}
    if not present.intersection(FILES):
        raise RefusedError(f"that folder holds none of the files that are read: {', '.join(FILES)}")
    found = Folder()
    for name in sorted(present.difference(FILES)):
        sentence = f"is not one of the files that are read, which are {', '.join(FILES)}: rename it, or take it away"
        found.faults.append(Fault(name, 0, "", sentence))
    for sheet in SHEETS:
        if sheet.file in present:
            _read(sheet, folder / sheet.file, found)
    return found


def written(sheet: Sheet, rows: Iterable[Mapping[str, Any]]) -> str:
    """Return a part as a file's text."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([column.name for column in sheet.columns])
    for row in rows:
        writer.writerow([column.kind.written(row[column.field]) for column in sheet.columns])
    return out.getvalue()


def _read(sheet: Sheet, path: Path, found: Folder) -> None:
    found.rows[sheet.part], found.named[sheet.part] = [], None
    try:
        records = _records(path)
        header = next(records, (1, []))[1]
        found.faults += (faults := [Fault(sheet.file, 1, *fault) for fault in _of_header(sheet, header)])
        if faults:
            return
        names = [_name(cell) for cell in header]
        named: set[str] = set()
        for row, cells in records:
            _read_row(sheet, names, row, cells, found)
            named.add(dict(zip(names, cells, strict=False)).get(sheet.columns[0].name, ""))
        found.named[sheet.part] = named
    except _UnreadableError as error:
        found.faults.append(Fault(sheet.file, 0, "", str(error)))


def _read_row(sheet: Sheet, names: Sequence[str], row: int, cells: Sequence[str], found: Folder) -> None:
    if len(cells) > len(names):
        sentence = f"has {len(cells)} cells where the header has {len(names)}: put a text that holds a comma in quotes"
        found.faults.append(Fault(sheet.file, row, "", sentence))
        return
    said, values, faults = dict(zip(names, cells, strict=False)), {}, []
    for column in sheet.columns:
        text = said.get(column.name) or column.empty
        try:
            values[column.field] = _filled(column, text)
        except ValueError as fault:
            faults.append(Fault(sheet.file, row, column.name, str(fault)))
    found.faults += faults
    found.rows[sheet.part].append(Said(row, values, whole=not faults))


def _filled(column: Column, text: str | None) -> Any:  # noqa: ANN401 - what a column holds
    if text is None:
        raise ValueError("is empty: it must be filled in")
    return column.kind.read(text)


class _UnreadableError(Exception):
    """A file as a whole can't be read; the sentence says why."""


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not empty with its number, the header first; cells without the spaces around them."""
    text = _text(path)
    first_line = text.partition("\n")[0]
    # What spreadsheets write where the comma is a decimal point.
    delimiter = ";" if ";" in first_line and "," not in first_line else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    row = 0
    try:
        for row, cells in enumerate(reader, start=1):
            if row > _MOST_ROWS or any(len(cell) > _LONGEST_CELL for cell in cells):
                raise _UnreadableError(f"row {row} is longer, or further down, than any that is meant: see what it is")
            if any(map(str.strip, cells)):
                yield row, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise _UnreadableError(f"is no CSV from row {row + 1} on ({error}): see its quotes and line ends") from error


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise _UnreadableError(f"is larger than {_LARGEST_FILE >> 20} MB, which no roster is")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _UnreadableError("is not UTF-8: save it as 'CSV UTF-8'") from error
    except OSError as error:
        raise _UnreadableError(f"can't be read ({error.strerror})") from error


def _of_header(sheet: Sheet, header: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield column and sentence of each fault of a header."""
    known, names = {column.name for column in sheet.columns}, [_name(cell) for cell in header]
    if not names:
        yield "", f"is empty: its first row names the columns {', '.join(column.name for column in sheet.columns)}"
        return
    for name in sorted({name for name in names if name and name not in known}):
        yield name[:_SHOWN], f"is no column of this file, whose columns are {', '.join(sorted(known))}"
    for name in sorted({name for name in names if name and names.count(name) > 1}):
        yield name[:_SHOWN], "is there more than once"
    for column in sheet.columns:
        if column.empty is None and column.name not in names:
            yield column.name, "is missing in the header"


def _name(cell: str) -> str:
    return cell.strip().lower().replace(" ", "_")
