"""A busy laboratory: messages and scans come in while several workers work on the same few cases."""

import random
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import select, text

from connectors.wiring import Lab
from models.tables.books import Alert
from tests.flows.looking import archived_names_the_patient, books_balance
from tests.small_lab import ON_BOTH, SmallSlide, message_arrives, order, run_until_calm, scan_arrives

WORKERS = 3
CASES = {f"26H{case}": [f"26H00000{case}-A1-{slide}" for slide in range(1, 5)] for case in range(1, 4)}


def arrivals(chance: random.Random) -> Iterator[bytes | SmallSlide]:
    """Yield orders, changes and cancels of three cases in no order, and a scan or two of each slide."""
    for number in range(24):
        case = chance.choice(list(CASES))
        slides = chance.sample(CASES[case], chance.randint(0, 3))
        others = [one for one in CASES[case] if one not in slides]
        yield order(
            case,
            *slides,
            control="NW" if slides else chance.choice(["NW", "XO", "CA"]),
            cancel=chance.sample(others, chance.choice([0, 0, 1])),
            sent_at=f"202501{chance.randint(1, 28):02d}120000+0000",
            control_id=f"M{number}",
            priority=chance.choice(["", "S", "R"]),
            patient=chance.choice(["A100234", "A100234", "B7"]),
            parent=chance.choice(["", f"{CASES[case][0][:9]}-A"]),
        )
    for slides in CASES.values():
        for name in slides:
            quality = chance.choice(["pass", "pass", "review", "rescan"])
            yield SmallSlide(codes=(name,), quality=quality, trouble=chance.choice([None, None, None, "rejected"]))
            if chance.random() < 0.3:
                yield SmallSlide(codes=(name,), made=2)


@ON_BOTH
@pytest.mark.parametrize("seed", [8, 52])
def test_whatever_comes_while_several_work_the_books_balance_and_nobody_waits_in_a_circle(lab: Lab, seed: int) -> None:
    chance = random.Random(seed)
    coming = list(arrivals(chance))
    chance.shuffle(coming)
    all_came, failed = threading.Event(), list[BaseException]()

    def work() -> None:
        try:
            while not all_came.is_set():
                run_until_calm(lab)
            run_until_calm(lab)
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    workers = [threading.Thread(target=work) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for one in coming:
        if isinstance(one, bytes):
            message_arrives(lab, one)
        else:
            scan_arrives(lab, one)
    all_came.set()
    for worker in workers:
        worker.join()
    run_until_calm(lab)

    assert failed == []
    books_balance(lab)
    archived_names_the_patient(lab)
    with lab.database.read() as session:
        said = session.scalars(select(Alert.sentence)).all()
    assert not [sentence for sentence in said if "fault of ours" in sentence or "stopped its worker" in sentence]
    assert deadlocks(lab) == 0


def deadlocks(lab: Lab) -> int:
    """Return how often PostgreSQL had to end a transaction so that another could go on."""
    if lab.database.is_sqlite:
        return 0
    # A connection says what it has seen when it is closed.
    lab.database.close()
    with lab.database.read() as session:
        counted = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return int(session.scalars(counted).one())
