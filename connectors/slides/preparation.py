"""How the specimens on a slide came to be there, in DICOM's words (PS3.3 C.7.6.22, PS3.16 TID 8001-8003)."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias, TypeGuard

from pydicom.dataset import Dataset

from connectors.slides.header import SlideHeader, SpecimenHeader
from models.statements import Coded
from models.uid import derive_uid

_LOCAL_SCHEME: Final = "99LOCAL"
"""PS3.16 8.2: a designator that begins with 99 is private; HL7 says ``L`` or nothing."""

_SCHEME: Final = re.compile(r"[A-Za-z0-9_.-]{1,16}")
_FORBIDDEN: Final = re.compile(r"[\\\x00-\x1f\x7f]")
_LONGEST_MEANING: Final = 64

_SHORT_CODE: Final = 16
"""Code Value (0008,0100) is SH; a longer code goes into Long Code Value (0008,0119)."""


class _Concepts(NamedTuple):
    """The concepts of PS3.16 that TID 8001 to 8003 name."""

    specimen_identifier: Coded = Coded(code="121041", meaning="Specimen Identifier", scheme="DCM")
    issuer: Coded = Coded(code="111724", meaning="Issuer of Specimen Identifier", scheme="DCM")
    processing_type: Coded = Coded(code="111701", meaning="Processing type", scheme="DCM")
    sampling_method: Coded = Coded(code="111704", meaning="Sampling Method", scheme="DCM")
    parent_identifier: Coded = Coded(code="111705", meaning="Parent Specimen Identifier", scheme="DCM")
    parent_issuer: Coded = Coded(code="111706", meaning="Issuer of Parent Specimen Identifier", scheme="DCM")
    parent_type: Coded = Coded(code="111707", meaning="Parent specimen type", scheme="DCM")
    substance: Coded = Coded(code="424361007", meaning="Using substance", scheme="SCT")
    fixative: Coded = Coded(code="430864009", meaning="Tissue fixative", scheme="SCT")
    embedding: Coded = Coded(code="430863003", meaning="Tissue embedding medium", scheme="SCT")


class _Procedures(NamedTuple):
    """Codes of CID 8111 (procedures), 8110 (sampling) and 8103 (specimen types)."""

    processing: Coded = Coded(code="9265001", meaning="Specimen processing", scheme="SCT")
    sampling: Coded = Coded(code="433465004", meaning="Sampling of tissue specimen", scheme="SCT")
    staining: Coded = Coded(code="127790008", meaning="Staining", scheme="SCT")
    block_sectioning: Coded = Coded(code="434472006", meaning="Block sectioning", scheme="SCT")
    dissection: Coded = Coded(code="122459003", meaning="Dissection", scheme="SCT")
    tissue: Coded = Coded(code="119376003", meaning="Tissue specimen", scheme="SCT")


_Named: TypeAlias = tuple[str, str | None]
"""A specimen: its identifier and who issued it."""


class _Sampling(NamedTuple):
    """One taking of one specimen from another."""

    taken: _Named
    method: Coded
    parent: _Named
    parent_type: Coded | None


_SAYS: Final = _Concepts()
_DID: Final = _Procedures()


def specimen_descriptions(header: SlideHeader) -> list[Dataset]:
    """Return the items of Specimen Description Sequence (0040,0560): at least one."""
    itself = SpecimenHeader(identifier=header.container_identifier, issuer=header.container_issuer)
    return [_described(header, specimen) for specimen in header.specimens or (itself,)]


def issuer_items(issuer: str | None) -> list[Dataset]:
    """Return the items of a sequence that names an issuer (PS3.3 10.14); none when nobody is named."""
    if issuer is None:
        return []
    item = Dataset()
    item.LocalNamespaceEntityID = issuer
    return [item]


def coded_item(coded: Coded) -> Dataset:
    """Return one coded entry (PS3.3 8.8); a code without a meaning is its own meaning.

    The code is never changed. Its meaning is for people and is cut to what LO holds; a scheme that SH can't hold
    is a laboratory's own.
    """
    item = Dataset()
    if len(coded.code) > _SHORT_CODE:
        item.LongCodeValue = coded.code
    else:
        item.CodeValue = coded.code
    is_public = coded.scheme not in {"", "L"} and _SCHEME.fullmatch(coded.scheme)
    item.CodingSchemeDesignator = coded.scheme if is_public else _LOCAL_SCHEME
    item.CodeMeaning = _FORBIDDEN.sub(" ", coded.meaning or coded.code)[:_LONGEST_MEANING].strip()
    return item


def _described(header: SlideHeader, specimen: SpecimenHeader) -> Dataset:
    item = Dataset()
    item.SpecimenIdentifier = specimen.identifier
    item.SpecimenUID = specimen.uid or derive_uid("specimen", specimen.issuer or "", specimen.identifier)
    item.IssuerOfTheSpecimenIdentifierSequence = issuer_items(specimen.issuer)
    if _is_coded(specimen.specimen_type):
        item.SpecimenTypeCodeSequence = [coded_item(specimen.specimen_type)]
    if specimen.short_description is not None:
        item.SpecimenShortDescription = specimen.short_description
    if _is_coded(specimen.anatomic_site):
        site = coded_item(specimen.anatomic_site)
        if _is_coded(specimen.laterality):
            site.PrimaryAnatomicStructureModifierSequence = [coded_item(specimen.laterality)]
        item.PrimaryAnatomicStructureSequence = [site]
    item.SpecimenPreparationSequence = [_step(list(content)) for content in _steps(header, specimen) if content]
    return item


def _step(content: list[Dataset]) -> Dataset:
    item = Dataset()
    item.SpecimenPreparationStepContentItemSequence = content
    return item


def _steps(header: SlideHeader, specimen: SpecimenHeader) -> Iterator[list[Dataset]]:
    """Yield what was done, in order: taken from the part, fixed and embedded, cut from the block, stained.

    Only what was stated. How a slide without a block was made (smear, touch preparation) nobody states, and a
    sampling without its method is none (TID 8002).
    """
    if specimen.block_identifier is not None and specimen.part_identifier is not None:
        yield _sampled(_Sampling(_block(specimen), _DID.dissection, _part(specimen), specimen.part_type))
    if _is_coded(header.fixative) or _is_coded(header.embedding):
        yield _processing(header, specimen)
    if specimen.block_identifier is not None:
        itself = (specimen.identifier, specimen.issuer)
        yield _sampled(_Sampling(itself, _DID.block_sectioning, _block(specimen), None))
    if header.stains or header.stain_text is not None:
        yield _staining(header, specimen)


def _processing(header: SlideHeader, specimen: SpecimenHeader) -> list[Dataset]:
    of = (specimen.identifier, specimen.issuer) if specimen.block_identifier is None else _block(specimen)
    content = _of(of, _DID.processing)
    if _is_coded(header.fixative):
        content.append(_code(_SAYS.fixative, header.fixative))
    if _is_coded(header.embedding):
        content.append(_code(_SAYS.embedding, header.embedding))
    return content


def _sampled(sampling: _Sampling) -> list[Dataset]:
    parent, issuer = sampling.parent
    content = _of(sampling.taken, _DID.sampling)
    content.append(_code(_SAYS.sampling_method, sampling.method))
    content.append(_text(_SAYS.parent_identifier, parent))
    if issuer is not None:
        content.append(_text(_SAYS.parent_issuer, issuer))
    kind = sampling.parent_type
    content.append(_code(_SAYS.parent_type, kind if _is_coded(kind) else _DID.tissue))
    return content


def _staining(header: SlideHeader, specimen: SpecimenHeader) -> list[Dataset]:
    content = _of((specimen.identifier, specimen.issuer), _DID.staining)
    for stain in header.stains:
        if _is_coded(stain):
            content.append(_code(_SAYS.substance, stain))
        elif stain.meaning:
            content.append(_text(_SAYS.substance, stain.meaning))
    if not header.stains and header.stain_text is not None:
        content.append(_text(_SAYS.substance, header.stain_text))
    return content


def _block(specimen: SpecimenHeader) -> _Named:
    return specimen.block_identifier or "", specimen.block_issuer


def _part(specimen: SpecimenHeader) -> _Named:
    return specimen.part_identifier or "", specimen.part_issuer


def _is_coded(coded: Coded | None) -> TypeGuard[Coded]:
    """Tell whether there is a code: HL7 also sends text alone, which is no code."""
    return coded is not None and bool(coded.code.strip())


def _of(named: _Named, procedure: Coded) -> list[Dataset]:
    identifier, issuer = named
    content = [_text(_SAYS.specimen_identifier, identifier)]
    if issuer is not None:
        content.append(_text(_SAYS.issuer, issuer))
    content.append(_code(_SAYS.processing_type, procedure))
    return content


def _text(name: Coded, value: str) -> Dataset:
    item = Dataset()
    item.ValueType = "TEXT"
    item.ConceptNameCodeSequence = [coded_item(name)]
    item.TextValue = value
    return item


def _code(name: Coded, value: Coded) -> Dataset:
    item = Dataset()
    item.ValueType = "CODE"
    item.ConceptNameCodeSequence = [coded_item(name)]
    item.ConceptCodeSequence = [coded_item(value)]
    return item
