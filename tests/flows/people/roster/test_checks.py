"""Every fault of a folder's files is named by file, row and column, all in one go."""

from pathlib import Path

import pytest

from flows.actions.peopling import import_people, preview_people
from flows.people.roster.sheets import FILES
from models.database import database_now
from models.errors import RefusedError
from models.tables.case import Case, Identifier, Patient
from tests.flows.people.conftest import ANN, Office
from tests.small_lab import ON_BOTH

PEOPLE = "okafor,Dr Ada Okafor,site-a,1,100,,yes,\nlind,Dr Jonas Lind,site-b,0.5,50,30,yes,LIND"
CASE = "01234567-0000-8000-8000-000000000001"
PATIENT = "01234567-0000-8000-8000-000000000002"


def a_case(office: Office, *accessions: tuple[str, str], case_id: str = CASE) -> None:
    with office.desk.database.write("test") as session:
        now = database_now(session)
        session.add(Patient(id=PATIENT if case_id == CASE else case_id[:-1] + "f"))
        session.add(Case(id=case_id, site_id="site-a", registered_at=now, orders_changed_at=now))
        for value, issuer in accessions:
            number = {"subject_kind": "case", "subject_id": case_id, "kind": "accession"}
            session.add(Identifier(**number, value=value, issuer=issuer))


@pytest.mark.parametrize(
    ("part", "row", "column", "sentence"),
    [
        ("networks", "North East,x,y", "id", "must be small letters"),
        ("networks", "network,x,y", "id", "sites without a network share"),
        ("networks", "south,,y", "name", "is empty"),
        ("network_aid", "north,south", "aiding", "names the network 'south', which is not known"),
        ("network_aid", "north,north", "aiding", "is the network itself"),
        ("sites", "site-z,north,", "site", "sites are named in the settings"),
        ("sites", "site-a,south,", "network", "networks are named in networks.csv"),
        ("sites", "site-a,,wales", "calendar", "holidays.csv"),
        ("holidays", "england,25/12/2026,Christmas", "day", "year first"),
        ("holidays", "england,2026-02-30,x", "day", "must be a day"),
        ("pathologists", "kim,Dr Kim,site-z,,,,,", "site", "names the site 'site-z'"),
        ("pathologists", "kim,Dr Kim,site-a,,NaN,,,", "points_a_week", "must be a number"),
        ("pathologists", "kim,Dr Kim,site-a,,1e999,,,", "points_a_week", "must be a number"),
        ("pathologists", "kim,Dr Kim,site-a,,-5,,,", "points_a_week", "must be more than 0"),
        ("pathologists", "kim,Dr Kim,site-a,,,0,,", "max_points", "must be more than 0"),
        ("pathologists", 'kim,Dr Kim,site-a,"0,5",,,,', "fte", "decimal point"),
        ("pathologists", "kim,Dr Kim,site-a,,,,perhaps,", "active", "yes or no"),
        ("pathologists", "kim,Dr Kim,site-a,,,,,lind", "known_as", "a message could mean either"),
        ("pathologists", "kim,Dr Kim, PhD,site-a,,,,,", "", "put a text that holds a comma in quotes"),
        ("competences", "kim,skin,lead,,,2026-01-01,", "pathologist", "names the pathologist 'kim'"),
        ("competences", "okafor,skin,consultant,,,2026-01-01,", "level", "lead, may read, trainee"),
        ("competences", "okafor,Skin Path,lead,,,2026-01-01,", "subspecialty", "underscores"),
        ("competences", "okafor,skin,lead,,,,", "from", "is empty"),
        ("competences", "okafor,skin,lead,,,2026-01-02,2026-01-01", "to", "before it begins"),
        ("competences", "okafor,skin,lead,no,no,2026-01-01,", "digital", "no competence"),
        ("sessions", "okafor,mon-fri,09:00+01:00,17:00", "starts", "neither zone nor offset"),
        ("sessions", "okafor,mon-fri,09:00Z,17:00", "starts", "neither zone nor offset"),
        ("sessions", "okafor,mon-fri,09:00 Europe/London,17:00", "starts", "neither zone nor offset"),
        ("sessions", "okafor,mon-fri,09:00,24:00", "ends", "midnight is 00:00"),
        ("sessions", "okafor,weekdays,09:00,17:00", "days", "days of the week"),
        ("leave", "okafor,2026-12-24,2026-12-23,", "last_day", "before it begins"),
        ("leave", "okafor,2026-12-24,2026-12-25,Annual Leave 2026", "kind", "small letters"),
        ("conflicts", "okafor,,,a colleague", "case", "either a case or a patient"),
        ("conflicts", "okafor,26X1@NET,,a colleague", "case", "no case that is known"),
        ("conflicts", "okafor,,somebody,a colleague", "patient", "no patient that is known"),
    ],
)
def test_a_faulty_row_is_named_with_its_column_and_what_to_do(
    office: Office, part: str, row: str, column: str, sentence: str
) -> None:
    files = {"networks": "north,The North,ne", "holidays": "england,2026-12-25,", "pathologists": PEOPLE}
    above = files.get(part, "")
    wanted = (f"{part}.csv", 2 + len(above.splitlines()), column)
    files[part] = f"{above}\n{row}"
    [fault] = preview_people(office.desk, office.files(**files)).faults
    assert (fault.file, fault.row, fault.column) == wanted
    assert sentence in fault.sentence


@pytest.mark.parametrize(
    ("part", "rows", "column", "sentence"),
    [
        ("networks", "north,a,b\nnorth,c,d", "id", "the same as row 2"),
        ("network_aid", "north,south\nnorth,south", "network", "the same as row 2"),
        ("pathologists", "kim,Dr Kim,site-a,,,,,\nkim,Dr K,site-b,,,,,", "id", "the same as row 2"),
        ("pathologists", "kim,a,site-a,,,,,K1 | Kay\nkay,b,site-a,,,,,", "id", "row 2 is known as too"),
        ("competences", "okafor,gi,lead,,,2026-01-01,\nokafor,gi,lead,,,2026-01-01,", "pathologist", "as row 2"),
        (
            "competences",
            "okafor,gi,lead,,,2026-01-01,\nokafor,gi,lead,,,2026-06-01,",
            "from",
            "within the time of row 2",
        ),
        ("competences", "okafor,gi,lead,,,2026-01-01,2026-06-01\nokafor,gi,trainee,,,2026-06-01,", "from", "of row 2"),
        ("sessions", "okafor,mon-wed,9:00,17:00\nokafor,tue,09:00,12:00", "days", "a session on tue at 09:00"),
        ("leave", "okafor,2026-12-01,2026-12-05,\nokafor,2026-12-05,2026-12-06,", "first_day", "leave of row 2"),
    ],
)
def test_two_rows_that_do_not_go_together_name_each_other(
    office: Office, part: str, rows: str, column: str, sentence: str
) -> None:
    files = {"networks": "north,x,y\nsouth,x,y", "pathologists": PEOPLE, part: rows}
    [fault] = preview_people(office.desk, office.files(**files)).faults
    assert (fault.file, fault.row, fault.column) == (f"{part}.csv", 3, column)
    assert sentence in fault.sentence


def test_what_follows_each_other_and_what_differs_in_kind_is_no_fault(office: Office) -> None:
    assert not office.faults(
        pathologists=PEOPLE,
        competences="okafor,gi,trainee,,,2026-01-01,2026-05-31\nokafor,gi,lead,,,2026-06-01,",
        leave="okafor,2026-12-01,2026-12-05,leave\nokafor,2026-12-02,2026-12-03,sick\nokafor,2026-12-06,2026-12-06,leave",
        sessions="okafor,mon,22:00,06:00\nokafor,tue-thu sun,00:00,00:00\nlind,sat-mon,9:00,17:00:30",
    )


def test_every_fault_of_every_file_is_named_in_one_go_and_nothing_is_stored(office: Office) -> None:
    files = {
        "networks": "north,The North,ne\nBAD,x,y",
        "sites": "site-a,south,\nsite-z,north,wales",
        "pathologists": "okafor,Dr Okafor,site-z,1,NaN,-1,perhaps,\nlind,,site-a,,,,,",
        "competences": "nobody,skin,chief,,,2026-01-01,\nlind,skin,lead,,,soon,",
    }
    assert office.faults(**files) == [
        ("networks.csv", 3, "id"),
        ("sites.csv", 2, "network"),
        ("sites.csv", 3, "calendar"),
        ("sites.csv", 3, "site"),
        ("pathologists.csv", 2, "active"),
        ("pathologists.csv", 2, "max_points"),
        ("pathologists.csv", 2, "points_a_week"),
        ("pathologists.csv", 2, "site"),
        ("pathologists.csv", 3, "name"),
        ("competences.csv", 2, "level"),
        ("competences.csv", 2, "pathologist"),
        ("competences.csv", 3, "from"),
    ]
    with pytest.raises(RefusedError, match="12 faults"):
        import_people(office.desk, office.folder, ANN)
    assert office.written_out()["pathologists.csv"].splitlines()[1:] == []


def test_somebody_in_a_faulty_row_is_not_called_unknown_elsewhere(office: Office) -> None:
    faults = office.faults(pathologists="okafor,Dr Okafor,site-a,,NaN,,,", competences="okafor,skin,lead,,,2026-01-01,")
    assert faults == [("pathologists.csv", 2, "points_a_week")]


def test_what_a_spreadsheet_writes_is_understood(office: Office) -> None:
    folder = office.files()
    text = "\ufeffPoints a week;ID;Name;Site;Active\r\n80;okafor;Okafor, Ada;site-a;TRUE\r\n;;;;\r\n"
    (folder / "pathologists.csv").write_bytes(text.encode())
    assert preview_people(office.desk, folder).faults == ()
    import_people(office.desk, folder, ANN)
    assert 'okafor,"Okafor, Ada",site-a,1,80,,yes,' in office.written_out()["pathologists.csv"]


@pytest.mark.parametrize(
    ("content", "row", "sentence"),
    [
        (b"id,name,region\nnorth,M\xfcller,ne\n", 0, "save it as 'CSV UTF-8'"),
        (b'id,name,region\nnorth,"The North,ne\n', 0, "is no CSV"),
        (b"", 1, "is empty"),
        (b"id,name\nnorth,x\n", 1, "is missing in the header"),
        (b"id,name,region,regoin\nnorth,x,y,z\n", 1, "is no column of this file"),
        (b"id,id,name,region\nnorth,x,y,z\n", 1, "more than once"),
        (b"id,name,region\nnorth,x," + b"y" * 20_000 + b"\n", 0, "longer"),
    ],
)
def test_a_file_that_can_t_be_read_is_named_as_a_whole(office: Office, content: bytes, row: int, sentence: str) -> None:
    folder = office.files(sites="site-a,north,")
    (folder / "networks.csv").write_bytes(content)
    [fault] = preview_people(office.desk, folder).faults
    assert (fault.file, fault.row) == ("networks.csv", row)
    assert sentence in fault.sentence


def test_a_file_with_a_wrong_name_is_not_passed_over(office: Office) -> None:
    folder = office.files(pathologists=PEOPLE)
    (folder / "competencies.csv").write_text("x")
    (folder / "notes.txt").write_text("x")
    [fault] = preview_people(office.desk, folder).faults
    assert (fault.file, fault.row) == ("competencies.csv", 0)


def test_a_folder_without_any_of_the_files_is_refused(office: Office, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="none of the files"):
        preview_people(office.desk, office.files())
    with pytest.raises(RefusedError, match="no such folder"):
        preview_people(office.desk, tmp_path / "nowhere")


def test_a_network_that_a_site_still_belongs_to_can_t_be_left_out(office: Office) -> None:
    office.brings_in(networks="north,x,ne\nsouth,x,ne", sites="site-a,north,", network_aid="north,south")
    assert office.faults(networks="south,x,ne") == [("networks.csv", 0, "")] * 2
    assert office.faults(networks="", sites="site-a,,", network_aid="") == []


@ON_BOTH
def test_a_case_is_named_by_its_accession_its_issuer_or_its_id_and_no_sentence_repeats_it(office: Office) -> None:
    a_case(office, ("26X1", "NET"), ("26@X2", "NET"))
    a_case(office, ("26X1", "OTHER"), case_id=CASE[:-1] + "9")
    files = {"pathologists": PEOPLE}
    for named in ("26X1@NET", "26@X2", "26@X2@NET", CASE):
        assert office.faults(**files, conflicts=f"okafor,{named},,sister") == [], named
    assert office.faults(**files, conflicts=f"okafor,,{PATIENT},sister") == []
    said = office.sentences(**files, conflicts=f"okafor,26X1,,a\nokafor,26X9,,a\nokafor,{CASE},{PATIENT},a")
    assert [each.split(":")[0] for each in said] == [
        "is several cases",
        "is no case that is known here",
        "a row names either a case or a patient",
    ]
    assert not any("26X" in sentence for sentence in said)
    twice = f"okafor,26X1@NET,,a\nokafor,{CASE},,b"
    assert office.sentences(**files, conflicts=twice) == ["says the same as row 2: leave one out"]


def test_the_files_are_those_that_people_are_told_of() -> None:
    assert FILES[0] == "networks.csv"
    assert len(FILES) == 9
