"""Which containers a message orders, which it cancels, and what that makes of the whole."""

from dataclasses import dataclass

from connectors.lims.containers import Asset, asset_of, implied_by
from connectors.lims.groups import Container, Groups, Order
from connectors.lims.identifiers import Named, containers_in_order, name_of
from connectors.lims.profile import ContainerKind, ControlMeant, Profile
from models.errors import RejectedError
from models.statements import Control


@dataclass(frozen=True, slots=True)
class Assets:
    """What is ordered, each container once; what is cancelled; and the control of the message.

    A cancel that names containers cancels those; one that names none cancels the case.
    """

    control: Control | None
    ordered: tuple[Asset, ...]
    cancelled: tuple[str, ...]


def assets_of(groups: Groups, profile: Profile, problems: list[str], otherwise: ContainerKind | None = None) -> Assets:
    """Return the containers of a message by their own order control (ORC-1).

    A container without an order of its own goes with the first order of the message; one with several
    is cancelled when all of them are. ``otherwise`` is what one is that does not say it.

    Raises
    ------
    RejectedError
        When a container is ordered and cancelled in one message, or is two kinds of thing.
    """
    ordered: dict[Named, Asset] = {}
    cancelled: dict[Named, None] = {}
    controls: set[ControlMeant] = set()
    said = _Controls(groups.orders, profile, problems)
    containers = [*groups.containers, *_containers_of_orders(groups, profile)]
    for container in containers:
        control = said.of(container.orders or groups.orders[:1])
        if control is None:
            continue
        controls.add(control)
        if said.are_replaced(container.orders):
            continue
        name = name_of(container, profile)
        if control == "cancel":
            cancelled[name] = None
            continue
        asset = asset_of(container, name, profile, problems, otherwise)
        ordered[name] = _joined(ordered[name], asset, problems) if name in ordered else asset
    if ordered.keys() & cancelled.keys():
        raise RejectedError("The message both orders and cancels the same container: send one or the other.")
    controls |= _bare_controls(groups, containers, said, problems)
    assets = _with_implied(ordered)
    return Assets(_whole(controls), assets, tuple(dict.fromkeys(one.identifier for one in cancelled)))


class _Controls:
    """What ORC-1 of each order comes to."""

    def __init__(self, orders: list[Order], profile: Profile, problems: list[str]) -> None:
        self._problems = problems
        self._said = {
            id(order): [profile.controls.get(orc.stated(1).upper()) for orc in order.segments if orc.name == "ORC"]
            for order in orders
        }
        self._new = any("replacement" in said for said in self._said.values())

    def of(self, orders: list[Order]) -> ControlMeant | None:
        """Return the control of orders; ``None``, with a problem, when it is none of ours."""
        said = [one for order in orders for one in self._said[id(order)]]
        known = {one for one in said if one is not None}
        if not known or len(known) < len(set(said)):
            self._problems.append(
                "ORC-1 (order control) is missing or none Coverslip acts on yet: that part was left out."
            )
        return _whole(known)

    def are_replaced(self, orders: list[Order]) -> bool:
        """Whether others in the message take the place of these orders: what they name is of the past."""
        return self._new and bool(orders) and all(set(self._said[id(order)]) == {"replace"} for order in orders)


def _containers_of_orders(groups: Groups, profile: Profile) -> list[Container]:
    """Return the containers that orders without SPM name, in the dialects where they do."""
    return [
        Container([segment], [order])
        for order in groups.bare_orders()
        for segment in containers_in_order(order.segments, profile)
    ]


def _with_implied(ordered: dict[Named, Asset]) -> tuple[Asset, ...]:
    """Return what is ordered, and what a compound identifier names above it that the message does not."""
    known = {(asset.issuer, asset.container_identifier) for asset in ordered.values()}
    implied: dict[tuple[str, str], Asset] = {}
    for name in ordered:
        for asset in implied_by(name):
            implied.setdefault((asset.issuer, asset.container_identifier), asset)
    return (*ordered.values(), *(asset for key, asset in implied.items() if key not in known))


def _whole(controls: set[ControlMeant]) -> Control | None:
    """Return what several controls come to: a cancel only when nothing else is said."""
    if "replacement" in controls:
        return "replace"
    order: tuple[Control, ...] = ("replace", "change", "register", "cancel")
    return next((control for control in order if control in controls), None)


def _bare_controls(
    groups: Groups, containers: list[Container], said: _Controls, problems: list[str]
) -> set[ControlMeant]:
    """Return the controls of orders without a container, which speak of the case."""
    owned = {id(order) for container in containers for order in container.orders}
    bare = [order for order in groups.orders if id(order) not in owned]
    found = {control for order in bare if (control := said.of([order]))}
    # Beside containers, or beside an order that stands, it cannot be the case that is cancelled.
    if "cancel" in found and (containers or len(found) > 1):
        problems.append("A cancelled order names no container, and others stand: it was left out.")
        found.discard("cancel")
    return set(found)


def _joined(first: Asset, second: Asset, problems: list[str]) -> Asset:
    """Return one asset that says what both say; where they differ, what was said first."""
    if type(first) is not type(second):
        raise RejectedError("The message calls one container two kinds of thing (SPM-27): send it again with one.")
    problems.append("One container is ordered more than once in the message: what is said of it was joined.")
    joined: dict[str, object] = {}
    for name in type(first).model_fields:
        one, other = getattr(first, name), getattr(second, name)
        joined[name] = tuple(dict.fromkeys(one + other)) if isinstance(one, tuple) else other if one is None else one
    return first.model_copy(update=joined)
