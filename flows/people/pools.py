"""Which readers are decided about together: a pool for each network, and one for all sites without a network."""

from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from models.base import table_of
from models.database import insert_unless_there
from models.tables.place import Site
from models.tables.reading import Network, Pathologist, Pool

THE_POOL: Final = "network"
"""The readers of the sites that belong to no network."""

_PERSON = table_of(Pathologist)
_WHERE = select(_PERSON.c.id, _PERSON.c.pool_id, Site.network_id).join(Site, Site.id == _PERSON.c.site_id)
_LOCKED = select(Pool.id).order_by(Pool.id).with_for_update()
_THESE_LOCKED = _LOCKED.where(Pool.id.in_(bindparam("pools", expanding=True)))
_OF_PEOPLE_LOCKED = _LOCKED.where(
    Pool.id.in_(select(_PERSON.c.pool_id).where(_PERSON.c.id.in_(bindparam("people", expanding=True))))
)
_MOVE = update(_PERSON).where(_PERSON.c.id == bindparam("person")).values(pool_id=bindparam("to"))


def pool_of(network_id: str | None) -> str:
    """Return the id of the pool of a network's readers, which is that of the network."""
    return network_id or THE_POOL


def lock_pools(session: Session, networks: Sequence[str] = ()) -> None:
    """Lock every pool in the order of their ids, with those of these networks made first: nobody is assigned meanwhile.

    Whoever changes who is in a pool does this before they read it.
    """
    known = session.scalars(select(Network.id)).all()
    wanted = sorted({THE_POOL, *known, *networks})
    insert_unless_there(session, Pool, [{"id": one} for one in wanted])
    session.execute(_LOCKED).all()


def hold_pools(session: Session, pools: Collection[str] | None = None) -> int:
    """Lock these pools, or all, in the order of their ids; return how many there are."""
    held = session.scalars(_LOCKED) if pools is None else session.scalars(_THESE_LOCKED, {"pools": sorted(pools)})
    return len(held.all())


def hold_pools_of(session: Session, people: Collection[str]) -> None:
    """Lock the pools of some people, in the order of their ids: whoever decides next sees what these are given.

    Whoever gives to several people in one transaction names them all at once, or two such may wait for each other.
    """
    if people:
        session.scalars(_OF_PEOPLE_LOCKED, {"people": sorted(people)}).all()


def keep_pools(session: Session) -> None:
    """Have everybody in the pool of their site's network; the reads that they have stay theirs."""
    astray = [
        {"person": person, "to": pool_of(network)}
        for person, pool, network in session.execute(_WHERE)
        if pool != pool_of(network)
    ]
    if astray:
        session.execute(_MOVE, astray)
