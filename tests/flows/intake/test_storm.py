"""When one peer sends nothing but nonsense, people hear of it once, and everybody else goes on."""

from datetime import timedelta

from sqlalchemy import func, select, update

from connectors.wiring import Lab
from flows import actions
from flows.actions import Desk
from flows.intake import storm
from flows.sweep import sweep
from models.database import database_now
from models.events.kinds import ScannerStatus
from models.tables.books import InboxMessage
from models.tables.intake import Circuit
from models.tables.step import Step
from tests.flows.actions.life import ANN
from tests.flows.intake.eventing import LIMS, NOW, SCANNER, a_log, event, hl7, rows, sentences, take_all, written
from tests.flows.looking import LONG_AGO, A, alerts, books_balance, the_case
from tests.small_lab import ON_BOTH, message_arrives, order, run_until_calm

MOST = storm.MOST_IN_A_ROW


def nonsense(number: int) -> bytes:
    return b"MSH|^~\\&|LIMS|A|COVERSLIP|NET|20261122091500+0000||ZZZ^Z01|U%d|P|2.5.1\r" % number


def good(number: int) -> bytes:
    return order(f"26H{number}", f"26H{number:06}-A1-1", control_id=f"G{number}")


def storms(lab: Lab) -> list[str]:
    return [one for one in alerts(lab) if one == storm.STORM]


def states(lab: Lab, peer: str = "lims-a") -> dict[str, int]:
    """Return how many messages of a peer stand where; those in quarantine by that name."""
    with lab.database.read() as session:
        found = session.execute(
            select(InboxMessage.state, InboxMessage.quarantined_at.is_not(None), func.count())
            .where(InboxMessage.peer == peer)
            .group_by(InboxMessage.state, InboxMessage.quarantined_at.is_not(None))
        )
        return {("quarantined" if quarantined else state): count for state, quarantined, count in found}


def half_a_minute_passes(lab: Lab) -> None:
    with lab.database.write("time") as session:
        session.execute(update(Circuit).where(Circuit.opened_at.is_not(None)).values(try_at=LONG_AGO))


@ON_BOTH
def test_a_storm_raises_one_alert_and_what_comes_later_waits_without_a_step(lab: Lab) -> None:
    log = a_log()
    written(log, LIMS, *(event(f"b{n}", hl7(nonsense(n))) for n in range(MOST)), key=b"lims-a")
    take_all(lab, log)
    run_until_calm(lab)
    assert states(lab) == {"set aside": MOST}
    assert len(storms(lab)) == 1

    written(log, LIMS, *(event(f"b{n}", hl7(nonsense(n))) for n in range(MOST, 3 * MOST)), key=b"lims-a")
    take_all(lab, log)
    run_until_calm(lab)

    assert states(lab) == {"set aside": MOST, "quarantined": 2 * MOST}
    assert alerts(lab).count("set aside") == MOST
    with lab.database.read() as session:
        assert len(actions.set_aside_messages(session)) == MOST
        assert actions.quarantined_messages(session) == [("lims-a", 2 * MOST)]
    assert "20 messages from lims-a in a row were set aside" in sentences(lab, storm.STORM)[0]
    with lab.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Step).where(Step.kind == "apply")) == MOST
    books_balance(lab)


@ON_BOTH
def test_what_was_on_its_way_when_the_storm_began_is_tried_and_told_of_once(lab: Lab) -> None:
    log = a_log()
    written(log, SCANNER, *(b"nonsense %d" % n for n in range(3 * MOST)))
    take_all(lab, log)
    run_until_calm(lab)

    assert states(lab, "scanner-site-a") == {"set aside": MOST, "quarantined": 2 * MOST}
    assert alerts(lab).count("set aside") == MOST
    books_balance(lab)


def test_other_peers_flow_through_a_storm(lab: Lab) -> None:
    for number in range(MOST):
        message_arrives(lab, nonsense(number))
    run_until_calm(lab)
    log = a_log()
    written(log, LIMS, event("a", hl7(order("26H1", A))), key=b"lims-a")
    written(log, LIMS, event("b", hl7(good(2)), site="site-b"), key=b"lims-b")
    written(log, SCANNER, event("s", ScannerStatus(state="idle", stated_at=NOW)))
    take_all(lab, log)
    run_until_calm(lab)

    assert states(lab) == {"set aside": MOST, "quarantined": 1}
    assert (states(lab, "lims-b"), states(lab, "scanner-site-a")) == ({"applied": 1}, {"applied": 1})


@ON_BOTH
def test_one_message_is_tried_every_half_minute_and_one_that_can_be_applied_lets_the_others_out(lab: Lab) -> None:
    log = a_log()
    bad = [event(f"b{n}", hl7(nonsense(n))) for n in range(MOST + 3)]
    written(log, LIMS, *bad[:MOST], key=b"lims-a")
    take_all(lab, log)
    run_until_calm(lab)
    written(log, LIMS, *bad[MOST:], key=b"lims-a")
    take_all(lab, log)
    for _ in range(5):
        half_a_minute_passes(lab)
        run_until_calm(lab)
    assert states(lab) == {"set aside": MOST, "quarantined": 3}
    assert len(storms(lab)) == 1
    books_balance(lab)

    written(log, LIMS, event("g1", hl7(order("26H1", A))), key=b"lims-a")
    take_all(lab, log)
    run_until_calm(lab)
    assert states(lab) == {"set aside": MOST, "quarantined": 4}
    half_a_minute_passes(lab)
    run_until_calm(lab)

    # The newest was tried first. The three others are told of one by one now.
    assert states(lab) == {"set aside": MOST + 3, "applied": 1}
    assert (storms(lab), alerts(lab).count("set aside")) == ([], MOST + 3)
    assert the_case(lab).id == lab.ids.of("case", "NET", "26H1")
    books_balance(lab)


def test_a_message_that_works_in_between_keeps_a_storm_from_beginning(lab: Lab) -> None:
    for number in range(2 * MOST):
        message_arrives(lab, nonsense(number))
        if number % 10 == 9:
            run_until_calm(lab)
            message_arrives(lab, good(number))
            run_until_calm(lab)

    assert storms(lab) == []
    assert states(lab) == {"set aside": 2 * MOST, "applied": 4}


@ON_BOTH
def test_a_message_that_a_person_has_read_again_ends_the_storm_when_it_works(lab: Lab) -> None:
    for number in range(MOST):
        message_arrives(lab, nonsense(number))
    run_until_calm(lab)
    log = a_log()
    written(log, LIMS, event("a", hl7(order("26H1", A))), event("b", hl7(good(2))), key=b"lims-a")
    take_all(lab, log)
    waiting = next(row for row in rows(lab) if row.quarantined_at is not None)
    actions.replay(Desk(lab.database, lab.settings, lab.ids), waiting.id, ANN)
    run_until_calm(lab)

    assert states(lab) == {"set aside": MOST, "applied": 2}
    assert storms(lab) == []
    books_balance(lab)


def test_a_large_quarantine_is_let_out_in_portions(lab: Lab) -> None:
    log = a_log()
    written(log, SCANNER, *(b"nonsense %d" % n for n in range(MOST)))
    take_all(lab, log)
    run_until_calm(lab)
    written(
        log,
        SCANNER,
        *(event(f"s{n}", ScannerStatus(state="idle", stated_at=NOW + timedelta(seconds=n))) for n in range(450)),
    )
    take_all(lab, log)
    with lab.database.write("over") as session:
        storm.message_applied(session, lab.ids, "scanner-site-a", database_now(session))
    let_out = [sweep(lab) for _ in range(4)]

    assert let_out == [200, 200, 50, 0]
    run_until_calm(lab)
    assert states(lab, "scanner-site-a") == {"set aside": MOST, "applied": 450}
    with lab.database.read() as session:
        assert session.scalars(select(Circuit.holding)).all() == [False]
