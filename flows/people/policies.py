"""The policy in force: the highest version that has begun, or the usual one while a laboratory has set none."""

import hashlib
import json
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


@dataclass(frozen=True)
class Version:
    """One version of the policy: from when on, by whom and why. A later one takes its place as soon as that begins."""

    version: int
    policy: Policy
    digest: str
    begins_at: datetime
    by: str
    because: str


def policy_in_force(session: Session, now: datetime) -> InForce:
    """Return by which policy is decided at this moment."""
    found = session.execute(_IN_FORCE, {"now": now}).one_or_none()
    if found is None:
        return InForce(None, Policy())
    return InForce(found.version, Policy.model_validate(found.body, strict=False))


def policy_versions(session: Session) -> tuple[Version, ...]:
    """Return every version that was set, the first one first."""
    return tuple(
        Version(
            version=row.version,
            policy=Policy.model_validate(row.body, strict=False),
            digest=row.digest,
            begins_at=row.begins_at,
            by=row.by,
            because=row.because,
        )
        for row in session.scalars(select(PolicyVersion).order_by(PolicyVersion.version))
    )


def digest_of(policy: Policy) -> str:
    """Return the digest of a policy's document: the same rules have the same, however they were written down."""
    stated = json.dumps(policy.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(stated.encode()).hexdigest()
