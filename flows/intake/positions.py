"""How far each partition of an event log was read: rows beside the inbox's, which only ever move forward.

The log's own memory of positions is for its displays. Ours is committed with the messages themselves, so a record is
in the inbox exactly when the position is beyond it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Final

from sqlalchemy import Executable, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from connectors.eventlog.protocol import Partition, Trouble
from flows.books import Subject, raise_alert
from models.base import table_of
from models.opaque import OpaqueIds
from models.tables.intake import ConsumerPosition

MADE_ANEW: Final = "topic made anew"
RECORDS_LOST: Final = "records lost"

_POSITION = table_of(ConsumerPosition)
_OF_TOPICS = select(
    *(_POSITION.c.cluster_id, _POSITION.c.topic, _POSITION.c.topic_id, _POSITION.c.partition, _POSITION.c.position)
).where(_POSITION.c.topic.in_(bindparam("topics", expanding=True)))
_GO_BACK = (
    update(_POSITION)
    .where(
        _POSITION.c.cluster_id == bindparam("of_cluster"),
        _POSITION.c.topic == bindparam("of_topic"),
        _POSITION.c.topic_id == bindparam("of_topic_id"),
        _POSITION.c.partition == bindparam("nth"),
    )
    .values(position=bindparam("to"), changed_at=bindparam("at"))
)


def positions(session: Session, cluster_id: str, partitions: Sequence[Partition]) -> dict[Partition, int]:
    """Return where to go on reading these partitions; one that was never read is left out."""
    rows = session.execute(_OF_TOPICS, {"topics": sorted({one.topic for one in partitions})})
    known = {(cluster, Partition(topic, topic_id, number)): at for cluster, topic, topic_id, number, at in rows}
    return {one: known[cluster_id, one] for one in partitions if (cluster_id, one) in known}


def made_anew(session: Session, cluster_id: str, partitions: Sequence[Partition]) -> list[str]:
    """Return the topics among these that were read before, and are now others of the same name."""
    topics = {one.topic: one.topic_id for one in partitions}
    rows = session.execute(_OF_TOPICS, {"topics": sorted(topics)}).all()
    read_now = {row.topic for row in rows if (row.cluster_id, row.topic_id) == (cluster_id, topics[row.topic])}
    return sorted({row.topic for row in rows} - read_now)


def raise_made_anew(session: Session, ids: OpaqueIds, cluster_id: str, topics: Iterable[str], at: datetime) -> None:
    """Tell people of topics that were made anew: what was in the old ones and not read is gone."""
    for topic in topics:
        sentence = (
            f"topic {topic} of the event log is not the one that was read before: it is read from its start, and what "
            "was read already changes nothing; ask who made it anew whether events were lost"
        )
        raise_alert(session, Subject("topic", ids.of("topic", cluster_id, topic)), MADE_ANEW, sentence, at)


def advance(session: Session, cluster_id: str, to: Mapping[Partition, int], at: datetime) -> None:
    """Move positions forward; one that is there already, or further, stays: a slow reader takes nothing back."""
    if to:
        rows = [_row(cluster_id, partition, position, at) for partition, position in sorted(to.items())]
        session.execute(_forward(session.get_bind().dialect.name), rows)


def note_troubles(session: Session, ids: OpaqueIds, cluster_id: str, troubles: Iterable[Trouble], at: datetime) -> None:
    """Tell people what is wrong with partitions, and go on where the log can, even if that is before where we were."""
    for one in troubles:
        where = one.partition
        subject = Subject(
            "partition", ids.of("partition", cluster_id, f"{where.topic} {where.topic_id} {where.number}")
        )
        raise_alert(session, subject, RECORDS_LOST, one.sentence, at)
        if one.resumed_at is None:
            continue
        advance(session, cluster_id, {where: one.resumed_at}, at)
        named = {"of_cluster": cluster_id, "of_topic": where.topic, "of_topic_id": where.topic_id, "nth": where.number}
        session.execute(_GO_BACK, {**named, "to": one.resumed_at, "at": at})


def _row(cluster_id: str, partition: Partition, position: int, at: datetime) -> dict[str, object]:
    return {
        "cluster_id": cluster_id,
        "topic": partition.topic,
        "topic_id": partition.topic_id,
        "partition": partition.number,
        "position": position,
        "changed_at": at,
    }


@cache
def _forward(dialect: str) -> Executable:
    made = sqlite.insert(_POSITION) if dialect == "sqlite" else postgresql.insert(_POSITION)
    return made.on_conflict_do_update(
        index_elements=list(_POSITION.primary_key),
        set_={"position": made.excluded.position, "changed_at": made.excluded.changed_at},
        where=_POSITION.c.position < made.excluded.position,
    )
