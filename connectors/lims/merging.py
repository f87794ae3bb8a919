"""Patients that are one (ADT^A40, A34, A18), and visits that move to another patient (ADT^A45)."""

from connectors.lims.message import Message, Segment
from connectors.lims.patient import identifiers_of, visits_of
from connectors.lims.profile import Profile
from models.errors import RejectedError
from models.statements import Identifier, PatientMerged, VisitMoved

_LEADERS = frozenset({"PID", "MRG", "PV1"})


def read_merges(message: Message, profile: Profile) -> tuple[PatientMerged, ...]:
    """Return every pair of a message: the patient of a PID stays, those of the MRG after it go into it.

    Raises
    ------
    RejectedError
        When a part of a pair is missing or names nobody, or names the same patient twice.
    """
    found = []
    for stays, prior, _ in _pairs(message):
        pair = PatientMerged(survivor=_patient(stays, profile), merged=_prior_patient(prior, profile))
        if set(pair.survivor) == set(pair.merged):
            raise RejectedError("PID-3 and MRG-1 name the same patient: nothing says which record goes into which.")
        found.append(pair)
    return tuple(dict.fromkeys(found))


def read_moves(message: Message, profile: Profile) -> tuple[VisitMoved, ...]:
    """Return every visit of a message that moves from the patient of its MRG to the patient of the PID before it.

    Raises
    ------
    RejectedError
        When a part of a move is missing or names nobody.
    """
    found = []
    for to, prior, visit in _pairs(message):
        visits = visits_of([prior], profile.prior_visit_fields, profile)
        # A visit that gets a new number by the move is meant by both.
        visits += visits_of([visit] if visit else [], profile.visit_fields, profile)
        if not visits:
            raise RejectedError("Neither MRG-5 nor PV1-19 names the visit that moves.")
        from_patient, to_patient = _prior_patient(prior, profile), _patient(to, profile)
        if set(from_patient) == set(to_patient):
            raise RejectedError("PID-3 and MRG-1 name the same patient: the visit moves nowhere.")
        found += [VisitMoved(visit=one, from_patient=from_patient, to_patient=to_patient) for one in visits]
    return tuple(dict.fromkeys(found))


def _pairs(message: Message) -> list[tuple[Segment, Segment, Segment | None]]:
    """Return each MRG with the PID before it and the PV1 behind it, if that comes before the next of either."""
    leaders = [segment for segment in message.segments if segment.name in _LEADERS]
    pairs: list[tuple[Segment, Segment, Segment | None]] = []
    patient: Segment | None = None
    for number, segment in enumerate(leaders):
        if segment.name == "PID":
            patient = segment
        elif segment.name == "MRG":
            if patient is None:
                raise RejectedError("MRG comes before any PID: nothing says whose record stays.")
            behind = leaders[number + 1] if number + 1 < len(leaders) else None
            pairs.append((patient, segment, behind if behind and behind.name == "PV1" else None))
    if not pairs:
        raise RejectedError("The message has no MRG: it does not say which record goes, or whose the visit was.")
    return pairs


def _patient(pid: Segment, profile: Profile) -> tuple[Identifier, ...]:
    found, _ = identifiers_of(pid, profile.patient_fields, profile)
    if not found:
        raise RejectedError("PID-3 names no patient identifier: nothing says whose record stays.")
    return found


def _prior_patient(mrg: Segment, profile: Profile) -> tuple[Identifier, ...]:
    found, _ = identifiers_of(mrg, profile.prior_patient_fields, profile)
    if not found:
        raise RejectedError("MRG-1 names no patient identifier: nothing says which record goes.")
    return found
