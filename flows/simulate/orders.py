"""What the simulated LIMS of a site knows of a scripted case, and the messages that order it."""

from datetime import date, datetime, timedelta
from typing import Final

from connectors.lims.simulated_orders import (
    HAEMATOXYLIN_EOSIN,
    SimulatedBlock,
    SimulatedCase,
    SimulatedPatient,
    SimulatedSlide,
    SimulatedSpecimen,
    order_by_case,
    order_by_specimen,
)
from flows.simulate.laboratory import issuer_of
from flows.simulate.script import ScriptedCase, ScriptedSlide
from models.statements import Coded

_DUE_AFTER: Final = {True: timedelta(days=2), False: timedelta(days=7)}

# SNOMED CT body structures, by the subspecialty that reads them.
_ORGANS: Final = {
    "breast": ("76752008", "Breast structure"),
    "gi": ("71854001", "Colon structure"),
    "skin": ("39937001", "Skin structure"),
    "thoracic": ("39607008", "Lung structure"),
    "gynae": ("35039007", "Uterine structure"),
    "urology": ("41216001", "Prostatic structure"),
    "haem": ("14016003", "Bone marrow structure"),
    "hpb": ("10200004", "Liver structure"),
}


def order_messages(case: ScriptedCase, now: datetime) -> tuple[bytes, ...]:
    """Return the messages that order a case, in the order in which they are sent; the same moment gives the same bytes.

    Slides that are added later come with a change of the whole order, and a message that is delivered twice is there
    twice, byte for byte.
    """
    build = order_by_specimen if case.form == "OML^O33" else order_by_case
    first = case.slides[: len(case.slides) - case.added]
    known = _known(case, first, now)
    messages = [build(known, f"{case.accession_number}-1", now)]
    if case.added:
        changed = _known(case, case.slides, now)
        messages.append(build(changed, f"{case.accession_number}-2", now + timedelta(seconds=1), "XO"))
    return (*messages, messages[-1]) if case.sent_twice else tuple(messages)


def _known(case: ScriptedCase, slides: tuple[ScriptedSlide, ...], now: datetime) -> SimulatedCase:
    """Return a case with these of its slides, their blocks and specimens."""
    blocks = list(dict.fromkeys(_block_of(slide) for slide in slides))
    specimens = list(dict.fromkeys(_specimen_of(block) for block in blocks))
    code, meaning = _ORGANS[case.subspecialty]
    return SimulatedCase(
        accession_number=case.accession_number,
        site=issuer_of(case.site),
        patient=_patient(case),
        request=Coded(code=case.subspecialty.upper(), meaning=f"{case.subspecialty} histology", scheme="L"),
        priority="S" if case.urgent else "R",
        due=now + _DUE_AFTER[case.urgent],
        received_at=now - timedelta(days=1),
        specimens=tuple(
            SimulatedSpecimen(container_identifier=one, anatomic_site=Coded(code=code, meaning=meaning, scheme="SCT"))
            for one in specimens
        ),
        blocks=tuple(SimulatedBlock(container_identifier=one, specimen=_specimen_of(one)) for one in blocks),
        slides=tuple(
            SimulatedSlide(
                container_identifier=slide.container_identifier, block=_block_of(slide), stains=_stains(slide.stain)
            )
            for slide in slides
        ),
    )


def _patient(case: ScriptedCase) -> SimulatedPatient:
    return SimulatedPatient(
        record_number=f"X{case.accession_number[2:]}",
        nhs_number=case.nhs_number,
        family_name="Example",
        given_name=case.given_name,
        birth_date=date(1950 + int(case.accession_number[-2:]), 2, 1),
        sex="U",
    )


def _block_of(slide: ScriptedSlide) -> str:
    return slide.container_identifier.rpartition("-")[0]


def _specimen_of(block: str) -> str:
    return block.rstrip("0123456789")


def _stains(stain: str) -> tuple[Coded, ...]:
    return HAEMATOXYLIN_EOSIN if stain == "H&E" else (Coded(code=stain, meaning=stain, scheme="L"),)
