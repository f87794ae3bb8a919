import json
from dataclasses import replace

import pytest
from sqlalchemy import select, update

from connectors.settings import Telemetry
from connectors.telemetry import Telemetry as Told
from connectors.wiring import Lab
from flows.actions import Desk, Person, rerun, review, withdraw
from flows.actions.resending import RESEND
from flows.journey import STAGES
from models.events.kinds import CaseAssigned, CaseCompleted, SlideArchived, SlideMatched, SlideNeedsAttention
from models.tables.books import OutboxMessage
from models.tables.scan import Instance
from models.tables.step import Slot
from tests.flows.looking import LONG_AGO, A, B, alerts, books_balance, scan_of, steps, the_case, time_passes
from tests.flows.sending.eventful import PREFIX, events, records, types, with_log
from tests.small_lab import ON_BOTH, SmallSlide, message_arrives, order, run_until_calm, scan_arrives

ROSA = Person("Rosa Example", "because")
SHARP = SmallSlide(codes=(A,))


def pauses_end(lab: Lab) -> None:
    with lab.database.write("pauses end") as session:
        session.execute(update(Slot).where(Slot.paused_until.is_not(None)).values(paused_until=LONG_AGO))
    time_passes(lab, "send")


def published(lab: Lab) -> list[OutboxMessage]:
    with lab.database.read() as session:
        ours = select(OutboxMessage).where(OutboxMessage.peer == "kafka")
        return list(session.scalars(ours.order_by(OutboxMessage.stated_at, OutboxMessage.id)))


def desk(lab: Lab) -> Desk:
    return Desk(lab.database, lab.settings, lab.ids)


def test_the_log_is_told_of_a_slide_from_its_check_to_the_reader_of_its_case(lab: Lab) -> None:
    lab, log = with_log(lab)
    message_arrives(lab, order("26H1", A))
    scan_id = scan_arrives(lab, SHARP)
    run_until_calm(lab)

    assert sorted(types(log, "slide")[:2]) == ["slide.matched", "slide.quality-checked"]
    assert types(log, "slide")[2:] == ["slide.archived"]
    assert types(log, "case") == ["case.completed", "case.assigned"]
    case = the_case(lab)
    with lab.database.read() as session:
        made = session.scalars(select(Instance)).first()
    archived = next(one.data for one in events(log, "slide") if isinstance(one.data, SlideArchived))
    assert made is not None
    assert archived == SlideArchived(
        scan_id=scan_id,
        site="site-a",
        slide_id=scan_of(lab, scan_id).slide_id or "",
        case_id=case.id,
        edition=1,
        study_instance_uid=made.study_instance_uid,
        series_instance_uid=made.series_instance_uid,
    )
    completed, assigned = (one.data for one in events(log, "case"))
    assert isinstance(completed, CaseCompleted)
    assert (completed.ready, completed.missing) == (1, 0)
    assert isinstance(assigned, CaseAssigned)
    assert assigned.pathologist_id in ("rosa", "tom")
    books_balance(lab)


def test_nothing_of_a_patient_or_a_label_is_published(lab: Lab) -> None:
    lab, log = with_log(lab)
    message_arrives(lab, order("26H1", A, B))
    scan_arrives(lab, SHARP, name="Example Ada 26H1.svs")
    scan_arrives(lab, SmallSlide(codes=(B,), quality="rescan"))
    scan_arrives(lab, SmallSlide(codes=("26H999999-A1-1",), trouble="rejected"))
    run_until_calm(lab)

    said = [b"%s %s %s" % (one.key, one.value, repr(one.headers).encode()) for one in records(log, "slide", "case")]
    assert len(said) > 5
    for name in (b"26H", b"Example", b"Ada", b"A100234", b'P1"', b"19640229"):
        assert not any(name in one for one in said)


@ON_BOTH
def test_the_key_is_the_opaque_id_and_the_event_has_the_id_of_its_message(lab: Lab) -> None:
    lab, log = with_log(lab)
    message_arrives(lab, order("26H1", A))
    scan_id = scan_arrives(lab, SHARP)
    run_until_calm(lab)

    for record, event in zip(records(log, "slide"), events(log, "slide"), strict=True):
        assert record.key == scan_id.encode()
        assert (event.subject, event.source) == (scan_id, "/coverslip")
        assert dict(record.headers)["content-type"].startswith(b"application/cloudevents+json")
    sent = [event.id for event in events(log, "slide", "case")]
    assert sorted(sent) == sorted(one.id for one in published(lab))
    assert {one.payload for one in published(lab)} == {one.value for one in records(log, "slide", "case")}


@ON_BOTH
@pytest.mark.parametrize(
    ("slide", "reasons"),
    [
        (SmallSlide(codes=(A,), quality="review"), ["quality-review"]),
        (SmallSlide(codes=(A,), quality="cannot judge"), ["cannot-judge"]),
        (SmallSlide(codes=(A,), quality="rescan"), ["rescan"]),
        (SmallSlide(codes=(A, B)), ["unmatched"]),
        (SmallSlide(codes=(A,), trouble="rejected"), ["set-aside"]),
    ],
)
def test_what_a_person_must_see_to_is_told_once_with_why(lab: Lab, slide: SmallSlide, reasons: list[str]) -> None:
    lab, log = with_log(lab)
    message_arrives(lab, order("26H1", A, B))
    scan_arrives(lab, slide)
    run_until_calm(lab)
    for kind in ("slide_qc", "barcode_matching"):
        time_passes(lab, kind)
    run_until_calm(lab)

    told = [one.data.reason for one in events(log, "slide") if isinstance(one.data, SlideNeedsAttention)]
    assert told == reasons


def test_a_file_that_a_person_must_bring_back_is_told_of_once_a_step(lab: Lab) -> None:
    lab, log = with_log(lab)
    scan_id = scan_arrives(lab, SHARP)
    for held in lab.spool.files():
        lab.spool.remove(held.id)
    for _ in range(2):
        run_until_calm(lab)
        for kind in ("slide_qc", "barcode_matching"):
            time_passes(lab, kind)

    told = [one.data for one in events(log, "slide")]
    wanted = SlideNeedsAttention(scan_id=scan_id, site="site-a", reason="needs-a-person")
    assert told == [wanted, wanted]


def test_each_change_of_mind_is_told_and_a_decision_names_a_person_as_its_author(lab: Lab) -> None:
    lab, log = with_log(lab)
    message_arrives(lab, order("26H1", A))
    scan_id = scan_arrives(lab, SHARP)
    run_until_calm(lab)
    review(desk(lab), scan_id, "rescan", ROSA)
    review(desk(lab), scan_id, "pass", ROSA)
    review(desk(lab), scan_id, "rescan", ROSA)
    run_until_calm(lab)

    checked = [
        (one.data.as_json()["verdict"], one.data.as_json()["decided_by"])
        for one in events(log, "slide")
        if one.type == "slide.quality-checked"
    ]
    assert checked == [("pass", "rule"), ("rescan", "person"), ("pass", "person"), ("rescan", "person")]


def test_a_match_that_was_withdrawn_is_told_again_when_it_is_made_anew(lab: Lab) -> None:
    lab, log = with_log(lab)
    message_arrives(lab, order("26H1", A))
    scan_id = scan_arrives(lab, SHARP)
    run_until_calm(lab)
    withdraw(desk(lab), scan_id, ROSA)
    run_until_calm(lab)

    attention = [one.data for one in events(log, "slide") if isinstance(one.data, SlideNeedsAttention)]
    matched = [one.data for one in events(log, "slide") if isinstance(one.data, SlideMatched)]
    assert [one.reason for one in attention] == ["unmatched"]
    assert len(matched) == 1


def test_saying_the_same_again_publishes_nothing(lab: Lab) -> None:
    lab, log = with_log(lab)
    message_arrives(lab, order("26H1", A))
    scan_id = scan_arrives(lab, SHARP)
    run_until_calm(lab)
    before = [record.value for record in records(log, "slide", "case")]

    for kind in ("slide_qc", "store"):
        rerun(desk(lab), scan_id, ROSA, kind)
        run_until_calm(lab)
    message_arrives(lab, order("26H1", A, control_id="M2"))
    run_until_calm(lab)

    assert [record.value for record in records(log, "slide", "case")] == before


def test_without_kafka_nothing_is_put_out_for_it(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    scan_arrives(lab, SHARP)
    run_until_calm(lab)

    assert published(lab) == []


def test_an_event_log_that_is_away_pauses_its_slot_and_hears_the_same_bytes_in_order_later(lab: Lab) -> None:
    lab, log = with_log(lab)
    log.presence = "away"
    message_arrives(lab, order("26H1", A))
    scan_arrives(lab, SHARP)
    run_until_calm(lab)
    assert scan_of(lab, scan_arrives(lab, SHARP)).storage == "proven"
    assert {one.state for one in published(lab)} == {"pending"}
    with lab.database.read() as session:
        assert session.scalars(select(Slot.silent_since).where(Slot.name == "kafka")).first() is not None
    frozen = {one.id: one.payload for one in published(lab) if one.payload}
    assert frozen

    log.presence = "there"
    while any(one.state == "pending" for one in published(lab)):
        pauses_end(lab)
        run_until_calm(lab)

    sent = {event.id: record.value for event, record in zip(events(log, "slide"), records(log, "slide"), strict=True)}
    assert frozen.items() <= sent.items() | {
        (event.id, record.value) for event, record in zip(events(log, "case"), records(log, "case"), strict=True)
    }
    assert types(log, "slide")[-1] == "slide.archived"
    with lab.database.read() as session:
        assert set(session.scalars(select(Slot.silent_since).where(Slot.name == "kafka"))) == {None}
    books_balance(lab)


def test_an_unknown_outcome_is_sent_again_byte_for_byte(lab: Lab) -> None:
    lab, log = with_log(lab)
    log.presence = "mute"
    scan_arrives(lab, SmallSlide(codes=(A,), quality="review"))
    run_until_calm(lab)
    log.presence = "there"
    while any(one.state == "pending" for one in published(lab)):
        pauses_end(lab)
        run_until_calm(lab)

    heard = [record.value for record in records(log, "slide")]
    assert len(heard) > len(set(heard)) == len(published(lab))


def test_an_event_that_the_log_will_never_take_waits_for_a_person_and_the_rest_flows(lab: Lab) -> None:
    lab, log = with_log(lab)
    log.delete(f"{PREFIX}slide")
    message_arrives(lab, order("26H1", A))
    scan_id = scan_arrives(lab, SHARP)
    run_until_calm(lab)

    assert types(log, "case") == ["case.completed", "case.assigned"]
    assert alerts(lab) == ["refused"]
    assert sorted(one.state for one in published(lab)) == ["answered", "answered", "pending", "pending", "refused"]
    books_balance(lab)

    log.create(f"{PREFIX}slide")
    rerun(desk(lab), scan_id, ROSA, RESEND)
    run_until_calm(lab)

    assert len(types(log, "slide")) == 3
    assert alerts(lab) == []
    books_balance(lab)


@ON_BOTH
def test_events_wait_when_kafka_is_taken_out_of_the_settings(lab: Lab) -> None:
    with_kafka, log = with_log(lab)
    scan_arrives(with_kafka, SmallSlide(quality="review"))
    run_until_calm(with_kafka, [one for one in STAGES if one.name != "sending"])
    run_until_calm(replace(lab, events=None))
    assert steps(lab, "send")[:2] == ["waiting for Kafka", "ready"]

    while any(one.state == "pending" for one in published(lab)):
        pauses_end(lab)
        run_until_calm(with_kafka)
    assert len(types(log, "slide")) == len(published(lab))


def test_each_try_to_publish_is_told_with_how_it_ended_and_what_kind_of_event_it_was(lab: Lab) -> None:
    settings = lab.settings.model_copy(update={"telemetry": Telemetry(to="file")})
    told, log = with_log(replace(lab, settings=settings, telemetry=Told.of(settings, "worker")))
    log.presence = "away"
    message_arrives(told, order("26H1", A))
    scan_arrives(told, SHARP)
    run_until_calm(told)
    log.presence = "there"
    while any(one.state == "pending" for one in published(told)):
        pauses_end(told)
        run_until_calm(told)
    told.telemetry.shutdown()

    spans = [json.loads(line) for line in (settings.home / "telemetry" / "traces.jsonl").read_text().splitlines()]
    said = [span["attributes"] for span in spans if span["attributes"].get("messaging.system") == "kafka"]
    assert said[0]["coverslip.event.ended"] == "none"
    written = [one["coverslip.event.type"] for one in said if one["coverslip.event.ended"] == "written"]
    assert sorted(written) == sorted(types(log, "slide", "case"))
    assert {one["messaging.message.id"] for one in said} <= {row.id for row in published(told)}
