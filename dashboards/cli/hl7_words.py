"""How what a message says is written on a terminal."""


def counted(number: int, noun: str) -> str:
    """Return how many there are of something: ``1 message``, ``2 messages``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def clean(text: str) -> str:
    """Return a text on one line, with nothing in it that a terminal would act on."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
