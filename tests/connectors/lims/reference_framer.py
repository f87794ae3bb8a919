"""MLLP read the slow way, byte by byte over a whole stream: what the real framer is held against."""

VT, FS = 0x0B, 0x1C
HEADERS = (b"MSH", b"FHS", b"BHS")
FILLING = b"\r\n\0 \t\x1c"


def read_stream(stream: bytes, limit: int) -> tuple[list[bytes | int], int, int]:
    """Return the frames (of one that is too large its size), and how many bytes of junk and torn frames there were."""
    frames: list[bytes | int] = []
    junk = torn = 0
    text: bytearray | None = None
    for place, byte in enumerate(stream):
        begins = byte == VT and stream[place + 1 :].removeprefix(b"\xef\xbb\xbf").startswith(HEADERS)
        if text is None:
            junk += byte != VT and byte not in FILLING
            text = bytearray() if byte == VT else None
        elif byte == FS or begins:
            if begins and text and not text.endswith((b"\r", b"\n")):
                torn += 1
            elif len(text) > limit:
                frames.append(len(text))
            elif text.strip(FILLING):
                frames.append(bytes(text))
            text = bytearray() if begins else None
        else:
            text.append(byte)
    return frames, junk, torn + (text is not None)
