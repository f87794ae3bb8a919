"""A person sets the policy by which reads are given, weighed and due; a version that was set is never changed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from flows.actions.desk import Desk, Person
from flows.books import Subject, note_changes
from flows.case_assignment.again import look_again, try_again
from flows.people.policies import Version, digest_of, policy_versions
from flows.people.policy_document import Differs, compare
from flows.people.pools import lock_pools
from models.database import database_now
from models.errors import RefusedError
from models.policy import Policy
from models.tables.reading import PolicyVersion

# Between typing a time and the moment of its transaction.
_GRACE: Final = timedelta(minutes=1)


@dataclass(frozen=True)
class Ruling:
    """What setting a policy makes: the version, from when on, what differs from the version before, what follows.

    ``is_new`` is false when the newest version says the same already, which stays as it is then.
    """

    version: int
    begins_at: datetime
    differs: tuple[Differs, ...]
    notes: tuple[str, ...]
    is_new: bool


def preview_policy(desk: Desk, policy: Policy, begins_at: datetime | None = None) -> Ruling:
    """Return what setting a policy would make; as ``set_policy``, which writes."""
    with desk.database.read() as session:
        return _ruling(session, policy, begins_at)


def set_policy(desk: Desk, policy: Policy, person: Person, begins_at: datetime | None = None) -> Ruling:
    """Make a new version of the policy, which is in force from a moment on, by default from now.

    Raises
    ------
    RefusedError
        It is to begin before now: what was decided was decided by the rules of then.
    """
    with desk.database.write("policy.set") as session:
        # Nobody decides by one policy and writes beside another; two who set one take turns.
        lock_pools(session)
        ruling = _ruling(session, policy, begins_at)
        if not ruling.is_new:
            return ruling
        said = {"digest": digest_of(policy), "body": policy.model_dump(mode="json"), "begins_at": ruling.begins_at}
        cause = person.cause("policy set")
        session.add(PolicyVersion(version=ruling.version, by=cause.actor, because=cause.reason, **said))
        told: list[tuple[str, object, object]] = [("version", ruling.version - 1 or None, ruling.version)]
        told += [("rule", _said(one.place, one.before), _said(one.place, one.after)) for one in ruling.differs]
        now = database_now(session)
        note_changes(session, Subject("policy", str(ruling.version)), told, cause, now)
        if ruling.begins_at <= now:
            try_again(session)
            look_again(session, f"version {ruling.version} of the policy begins", now, "schedule")
    return ruling


def _said(place: str, value: str | None) -> str | None:
    return None if value is None else f"{place} = {value}"


def _ruling(session: Session, policy: Policy, begins_at: datetime | None) -> Ruling:
    now = database_now(session)
    begins = now if begins_at is None else begins_at
    if begins < now - _GRACE:
        raise RefusedError("a policy can't begin before now: what was decided was decided by the rules of then")
    versions = policy_versions(session)
    latest = versions[-1] if versions else None
    if latest is not None and latest.digest == digest_of(policy) and latest.begins_at <= begins:
        return Ruling(latest.version, latest.begins_at, (), (), is_new=False)
    before = latest.policy if latest else Policy()
    number = latest.version + 1 if latest else 1
    return Ruling(number, begins, compare(before, policy), tuple(_notes(versions, begins)), is_new=True)


def _notes(versions: tuple[Version, ...], begins: datetime) -> list[str]:
    overtaken = [one for one in versions if one.begins_at >= begins]
    return [
        f"version {one.version}, which was to begin at {one.begins_at:%Y-%m-%d %H:%M} UTC, will never be in force: "
        "a later version takes its place"
        for one in overtaken
    ]
