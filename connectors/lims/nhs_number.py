"""The NHS number of England, Wales and the Isle of Man, and its check digit."""

_LENGTH = 10


def normalised(written: str) -> str:
    """Return the number without the blanks and hyphens that people write into it."""
    return written.replace(" ", "").replace("-", "")


def is_valid(number: str) -> bool:
    """Whether ten digits carry the right check digit (modulus 11, NHS Data Dictionary: NHS NUMBER)."""
    if len(number) != _LENGTH or not (number.isascii() and number.isdigit()):
        return False
    weighted = sum(int(digit) * weight for digit, weight in zip(number, range(10, 1, -1), strict=False))
    # A remainder of 1 would need the check digit 10: no such number is issued.
    return (11 - weighted % 11) % 11 == int(number[-1]) and len(set(number)) > 1
