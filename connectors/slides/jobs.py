"""What a bounded child does with one slide: take JSON, return JSON, leave pictures in the caller's folder.

No text of these answers may be logged: codes and labels name a patient's material.
"""

from pathlib import Path

from PIL import Image

from connectors.slides.bounded import JSON
from connectors.slides.label import read_codes
from connectors.slides.reader import SlideReader

_LABEL_PX = 1000
_LABEL_OF_MACRO = 0.3  # of the glass, at its left end: where scanners hold it, 20 to 26 mm of 76 mm


def read_label(arguments: dict[str, str]) -> dict[str, JSON]:
    """Read the codes on a slide's label.

    Parameters
    ----------
    arguments
        ``path`` of the slide; ``folder``, private, for ``label.png`` (at most 1000 pixels), the picture that a
        person gets to see.

    Returns
    -------
    dict
        ``codes``, each with symbology, text and attempt; ``label``, the name of the picture or nothing;
        ``scanner_barcode``, what the scanner itself read, or nothing.
    """
    with SlideReader(Path(arguments["path"])) as slide:
        label = slide.label()
        if label is None:
            macro = slide.macro()
            label = None if macro is None else macro.crop((0, 0, round(macro.width * _LABEL_OF_MACRO), macro.height))
        scanner_barcode = slide.metadata().scanner_barcode
    if label is None:
        return {"codes": [], "label": None, "scanner_barcode": scanner_barcode}
    codes = read_codes(label)
    label.thumbnail((_LABEL_PX, _LABEL_PX), Image.Resampling.LANCZOS)
    label.save(Path(arguments["folder"]) / "label.png")
    found: list[JSON] = [{"symbology": code.symbology, "text": code.text, "attempt": code.attempt} for code in codes]
    return {"codes": found, "label": "label.png", "scanner_barcode": scanner_barcode}
