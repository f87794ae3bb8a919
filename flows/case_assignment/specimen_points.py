"""What a specimen weighs by what it is, before anybody has looked at it.

That points go by the type of specimen is the idea of the Royal College of Pathologists' staffing guidance (G107) and of
the Warwick system, which gives them when the specimen comes (J Clin Pathol, August 2006). The figures are our own, in
the unit of ``weights/1``; a laboratory lays its own over them by code.
"""

from collections.abc import Mapping
from typing import Final

#   a word of what SPM-4 calls it: points; the first that is found counts, so what is special stands before what is not
_WORDS: Final = (
    ("pancreaticoduodenectomy", 20),
    ("whipple", 20),
    ("oesophagectomy", 16),
    ("esophagectomy", 16),
    ("cystoprostatectomy", 16),
    ("prostatectomy", 14),
    ("cholecystectomy", 1),
    ("gallbladder", 1),
    ("cystectomy", 14),
    ("laryngectomy", 14),
    ("neck dissection", 12),
    ("mastectomy", 12),
    ("colectomy", 12),
    ("anterior resection", 12),
    ("abdominoperineal", 12),
    ("gastrectomy", 12),
    ("hysterectomy", 8),
    ("nephrectomy", 8),
    ("lobectomy", 8),
    ("hepatectomy", 10),
    ("amputation", 10),
    ("thyroidectomy", 6),
    ("wide local excision", 6),
    ("orchidectomy", 6),
    ("sentinel", 4),
    ("loop excision", 4),
    ("bone marrow", 4),
    ("transurethral", 4),
    ("salpingo", 3),
    ("lymph node", 3),
    ("core", 2),
    ("excision", 2),
    ("biopsy", 1),
    ("polyp", 1),
    ("curettings", 1),
    ("append", 1),
    ("tonsil", 1),
)


def points_of_type(code: str, meaning: str, own: Mapping[str, float]) -> float | None:
    """Return what a specimen of this type weighs; ``None`` where no table knows it.

    ``own`` are a laboratory's figures by code, in capitals.
    """
    if (theirs := own.get(code.upper())) is not None:
        return theirs
    called = meaning.casefold()
    return next((float(points) for word, points in _WORDS if word in called), None)
