"""How what a message says is written on a terminal."""


def clean(text: str) -> str:
    """Return a text on one line, with nothing in it that a terminal would act on."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
