"""The policy in force: the highest version that has begun, or the usual one while a laboratory has set none."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from models.policy import Policy
from models.tables.reading import PolicyVersion

_IN_FORCE = (
    select(PolicyVersion.version, PolicyVersion.body)
    .where(PolicyVersion.begins_at <= bindparam("now"))
    .order_by(PolicyVersion.version.desc())
    .limit(1)
)


@dataclass(frozen=True)
class InForce:
    """A policy, and the version that it has in this laboratory; ``None`` is the one that ships."""

    version: int | None
    policy: Policy


def policy_in_force(session: Session, now: datetime) -> InForce:
    """Return by which policy is decided at this moment."""
    found = session.execute(_IN_FORCE, {"now": now}).one_or_none()
    if found is None:
        return InForce(None, Policy())
    return InForce(found.version, Policy.model_validate(found.body, strict=False))
