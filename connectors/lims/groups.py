"""Which segments of a message belong together: runs of segments, never a schema.

Two families of messages carry orders for containers: in one SPM leads and its orders follow
(OML^O33), in the other ORC leads and its specimens follow (OML^O21, ORM^O01, ORU^R01). Whichever comes first in the
message decides; a Z-segment or a repeated one joins the run it stands in. Every segment is in one place.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from connectors.lims.message import Segment
from models.errors import RejectedError


@dataclass(slots=True)
class Order:
    """An order: ORC, OBR and what stands beside them."""

    segments: list[Segment] = field(default_factory=list)


@dataclass(slots=True)
class Container:
    """A container: SPM, its SAC and OBX, and the orders that it belongs to."""

    segments: list[Segment] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)

    def everything(self) -> list[Segment]:
        """Return what is said of the container itself, then what its orders say."""
        found = self.segments
        for order in self.orders:
            found = found + order.segments
        return found


@dataclass(slots=True)
class Groups:
    """The containers and the orders of a message, each in the order sent.

    Attributes
    ----------
    opening
        What stands before the first of them: MSH, the patient, the visit.
    prior
        Prior results among the specimens, which are ordered by nobody.
    """

    containers: list[Container] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    opening: list[Segment] = field(default_factory=list)
    prior: list[Segment] = field(default_factory=list)

    def bare_orders(self) -> list[Order]:
        """Return the orders that no container belongs to."""
        owned = {id(order) for container in self.containers for order in container.orders}
        return [order for order in self.orders if id(order) not in owned]

    def segments(self) -> list[Segment]:
        """Return every segment of every group, those of the orders first."""
        runs = [*(order.segments for order in self.orders), *(one.segments for one in self.containers)]
        return [segment for run in runs for segment in run]


def group(segments: Iterable[Segment]) -> Groups:
    """Return the groups of one message.

    Raises
    ------
    RejectedError
        When a second patient stands in a message led by orders: whether what follows was ordered
        or is a prior result cannot be told.
    """
    body = list(segments)
    leader = next((segment.name for segment in body if segment.name in {"SPM", "ORC", "OBR"}), "")
    return _led_by_specimens(body) if leader == "SPM" else _led_by_orders(body)


def _led_by_specimens(body: list[Segment]) -> Groups:
    groups = Groups()
    order: Order | None = None
    prior = False
    for segment in body:
        name = segment.name
        # A PID among the specimens opens prior results, which last until the next specimen.
        prior = name != "SPM" and (prior or (name == "PID" and bool(groups.containers)))
        if name == "SPM":
            groups.containers.append(Container([segment]))
            order = None
        elif prior or not groups.containers:
            (groups.prior if prior else groups.opening).append(segment)
        elif _begins_order(segment, order):
            order = Order([segment])
            groups.orders.append(order)
            groups.containers[-1].orders.append(order)
        else:
            (order or groups.containers[-1]).segments.append(segment)
    return groups


def _led_by_orders(body: list[Segment]) -> Groups:
    groups = Groups()
    order: Order | None = None
    container: Container | None = None
    for segment in body:
        if segment.name == "PID" and order is not None:
            raise RejectedError(
                "A second PID follows the orders: prior results in such a message cannot be told apart."
            )
        if _begins_order(segment, order if container is None else None):
            order, container = Order([segment]), None
            groups.orders.append(order)
        elif order is None:
            groups.opening.append(segment)
        elif segment.name == "SPM":
            container = Container([segment], [order])
            groups.containers.append(container)
        else:
            (container or order).segments.append(segment)
    return groups


def _begins_order(segment: Segment, order: Order | None) -> bool:
    """Whether an ORC, or an OBR that no ORC announced, stands here."""
    if segment.name == "ORC":
        return True
    return segment.name == "OBR" and (order is None or any(other.name == "OBR" for other in order.segments))
