from dataclasses import replace

from sqlalchemy import select, update

from connectors.wiring import Lab
from flows.actions import Desk, Person, replay
from flows.intake.inbox import Arrival, keep
from models.database import database_now
from models.events.envelope import source_of
from models.events.kinds import Hl7Part, Hl7Received, SlideScanned, TakenFile
from models.events.parts import MOST_PAYLOAD_BYTES, together
from models.tables.scan import Scan, ScanFile
from models.tables.step import Slot
from tests.flows.looking import LONG_AGO, A, alerts, books_balance, inbox, steps, time_passes
from tests.flows.sending.eventful import PREFIX, events, records, types, with_log
from tests.small_lab import PLACE, SmallSlide, order, run_until_calm, scan_arrives

ROSA = Person("Rosa Example", "because")


def message_comes(lab: Lab, payload: bytes, peer: str = "lims-a") -> str:
    with lab.database.write("message_comes") as session:
        arrival = Arrival("hl7", peer, payload, answer=b"AA", message_type="OML^O21")
        return keep(session, lab.ids, arrival, database_now(session), forward=True).inbox_id


def pauses_end(lab: Lab) -> None:
    with lab.database.write("pauses end") as session:
        session.execute(update(Slot).where(Slot.paused_until.is_not(None)).values(paused_until=LONG_AGO))
    time_passes(lab, "forward")


def numbered(number: int) -> bytes:
    return order(f"26H{number}", A, control_id=f"M{number}")


def test_a_gateway_hands_on_what_a_lims_says_byte_for_byte_and_applies_nothing(lab: Lab) -> None:
    lab, log = with_log(lab, gateway=True)
    said = order("26H1", A)
    message_comes(lab, said)
    run_until_calm(lab)

    (event,) = events(log, "lims.hl7v2")
    assert isinstance(event.data, Hl7Received)
    assert event.data.payload == said
    assert event.source == source_of("site-a", "lims", "lims-a")
    assert [record.key for record in records(log, "lims.hl7v2")] == [b"lims-a"]
    assert (inbox(lab), steps(lab, "apply"), steps(lab, "forward")) == (["applied"], [], ["done"])
    books_balance(lab)


def test_a_gateway_tells_of_a_scan_that_its_spool_holds(lab: Lab) -> None:
    lab, log = with_log(lab, gateway=True)
    scan_id = scan_arrives(lab, SmallSlide(codes=(A,)), name="rack 1/Example Ada.svs")
    run_until_calm(lab)

    (event,) = events(log, "scanner")
    with lab.database.read() as session:
        file = session.scalars(select(ScanFile)).one()
        assert session.scalars(select(Scan.id)).all() == []
    assert event.data == SlideScanned(
        root="scanner-site-a",
        path="rack 1/Example Ada.svs",
        taken=TakenFile(
            file_id=file.id, sha256=file.sha256 or "", bytes=file.bytes, modified_ns=file.modified_ns, place=PLACE
        ),
    )
    assert file.scan_id == scan_id
    (record,) = records(log, "scanner")
    assert record.key == b"site-a/scanner-site-a"
    around = b"%s %s" % (record.key, repr(record.headers).encode()) + f"{event.id} {event.source}".encode()
    assert b"Ada" not in around
    books_balance(lab)


def test_what_is_too_large_for_one_record_travels_in_parts(lab: Lab) -> None:
    lab, log = with_log(lab, gateway=True)
    large = order("26H1", A) + b"NTE|1||" + b"x" * (2 * MOST_PAYLOAD_BYTES) + b"\r"
    message_comes(lab, large)
    run_until_calm(lab)

    parts = [event.data for event in events(log, "lims.hl7v2")]
    assert all(isinstance(part, Hl7Part) for part in parts)
    whole = together(part for part in parts if isinstance(part, Hl7Part))
    assert whole is not None
    assert whole.payload == large
    assert len({event.id for event in events(log, "lims.hl7v2")}) == len(parts) == 3


def test_a_gateway_that_is_cut_off_keeps_taking_and_delivers_in_order_afterwards(lab: Lab) -> None:
    lab, log = with_log(lab, gateway=True)
    log.presence = "away"
    said = [numbered(number) for number in range(60)]
    for number, one in enumerate(said):
        message_comes(lab, one)
        if number % 20 == 0:
            run_until_calm(lab)
            scan_arrives(lab, SmallSlide(made=number))
    run_until_calm(lab)
    assert set(inbox(lab)) == {"kept"}

    log.presence = "there"
    while "kept" in inbox(lab):
        pauses_end(lab)
        run_until_calm(lab)

    heard = [one.data.payload for one in events(log, "lims.hl7v2") if isinstance(one.data, Hl7Received)]
    assert heard == said
    assert len(types(log, "scanner")) == 3
    with lab.database.read() as session:
        assert session.scalars(select(Slot.silent_since).where(Slot.name == "kafka")).all() == [None]
    books_balance(lab)


def test_an_unknown_outcome_is_told_again_with_the_same_bytes(lab: Lab) -> None:
    lab, log = with_log(lab, gateway=True)
    log.presence = "mute"
    message_comes(lab, order("26H1", A))
    run_until_calm(lab)
    log.presence = "there"
    while "kept" in inbox(lab):
        pauses_end(lab)
        run_until_calm(lab)

    heard = [record.value for record in records(log, "lims.hl7v2")]
    assert len(heard) > 1
    assert len(set(heard)) == 1


def test_a_topic_that_is_missing_holds_its_streams_until_it_is_made_and_people_are_told(lab: Lab) -> None:
    lab, log = with_log(lab, gateway=True)
    log.delete(f"{PREFIX}lims.hl7v2")
    said = [numbered(number) for number in range(3)]
    for one in said:
        message_comes(lab, one)
    scan_arrives(lab, SmallSlide())
    run_until_calm(lab)
    assert types(log, "scanner") == ["scanner.slide-scanned"]
    assert alerts(lab) == ["forward keeps failing"]

    log.create(f"{PREFIX}lims.hl7v2")
    while "kept" in inbox(lab):
        pauses_end(lab)
        run_until_calm(lab)

    assert [one.data.payload for one in events(log, "lims.hl7v2") if isinstance(one.data, Hl7Received)] == said
    run_until_calm(lab)
    assert alerts(lab) == []


def test_what_a_gateway_can_not_hand_on_is_set_aside_and_handed_on_when_it_is_replayed(lab: Lab) -> None:
    lab, log = with_log(lab, gateway=True)
    inbox_id = message_comes(lab, order("26H1", A), peer="nobody")
    run_until_calm(lab)
    assert (inbox(lab), alerts(lab)) == (["set aside"], ["set aside"])
    books_balance(lab)

    listener = lab.settings.listeners[0].model_copy(update={"peer": "nobody"})
    settings = lab.settings.model_copy(update={"listeners": (*lab.settings.listeners, listener)})
    lab = replace(lab, settings=settings)
    replay(Desk(lab.database, lab.settings, lab.ids), inbox_id, ROSA)
    run_until_calm(lab)

    assert inbox(lab) == ["applied"]
    assert [event.source for event in events(log, "lims.hl7v2")] == ["/site-a/lims/nobody"]
    books_balance(lab)
