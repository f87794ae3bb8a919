"""Which containers a message orders, which it cancels, and what that makes of the whole."""

from dataclasses import dataclass

from connectors.lims.containers import Asset, Named, asset_of, name_of
from connectors.lims.groups import Groups, Order
from connectors.lims.profile import Profile
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


def assets_of(groups: Groups, profile: Profile, problems: list[str]) -> Assets:
    """Return the containers of a message by their own order control (ORC-1).

    A container without an order of its own goes with the first order of the message; one with several
    is cancelled when all of them are.

    Raises
    ------
    RejectedError
        When a container is ordered and cancelled in one message, or is two kinds of thing.
    """
    ordered: dict[Named, Asset] = {}
    cancelled: dict[Named, None] = {}
    controls: set[Control] = set()
    for container in groups.containers:
        control = _control(container.orders or groups.orders[:1], profile, problems)
        if control is None:
            continue
        name = name_of(container, profile)
        controls.add(control)
        if control == "cancel":
            cancelled[name] = None
            continue
        asset = asset_of(container, name, profile, problems)
        ordered[name] = _joined(ordered[name], asset, problems) if name in ordered else asset
    if ordered.keys() & cancelled.keys():
        raise RejectedError("The message both orders and cancels the same container: send one or the other.")
    controls |= _bare_controls(groups, profile, problems)
    return Assets(_whole(controls), tuple(ordered.values()), tuple(dict.fromkeys(one.identifier for one in cancelled)))


def _control(orders: list[Order], profile: Profile, problems: list[str]) -> Control | None:
    """Return the control of a container's orders; ``None``, with a problem, when it is none of ours."""
    said = [orc.stated(1).upper() for order in orders for orc in order.segments if orc.name == "ORC"]
    known = {profile.controls[code] for code in said if code in profile.controls}
    if len(known) == 0 or any(code not in profile.controls for code in said):
        problems.append("ORC-1 (order control) is missing or none Coverslip acts on yet: that part was left out.")
    return _whole(known)


def _whole(controls: set[Control]) -> Control | None:
    """Return what several controls come to: a cancel only when nothing else is said."""
    order: tuple[Control, ...] = ("change", "register", "cancel")
    return next((control for control in order if control in controls), None)


def _bare_controls(groups: Groups, profile: Profile, problems: list[str]) -> set[Control]:
    """Return the controls of orders without a container, which speak of the case."""
    found = {_control([order], profile, problems) for order in groups.bare_orders()} - {None}
    # Beside containers, or beside an order that stands, it cannot be the case that is cancelled.
    if "cancel" in found and (groups.containers or len(found) > 1):
        problems.append("A cancelled order names no container, and others stand: it was left out.")
        found.discard("cancel")
    return {control for control in found if control is not None}


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
