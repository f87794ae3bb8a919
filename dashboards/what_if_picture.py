"""Two ways of running a laboratory as one picture: how soon reads are reported, and how evenly people are loaded."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from xml.sax.saxutils import escape

from flows.case_assignment.what_if.figures import Figures

_WIDTH, _HEIGHT = 960, 440
_LEFT, _TOP, _PANEL, _TALL = 60, 95, 380, 270
_GAP: Final = 80
# Told apart by everybody who sees colours differently, and by their dashes in print.
_STYLES: Final = (("#1d4ed8", ""), ("#c2410c", "7 4"), ("#525252", "2 4"))
_STEPS: Final = 4
_SHOWN_SHARE: Final = 0.98
_TEXT: Final = 'font-family="sans-serif" font-size="13" fill="#1f2937"'


def picture(title: str, ways: Mapping[str, Figures]) -> str:
    """Return an SVG document: left the share of reads reported within so many days, right each person's load.

    At most three ways are drawn, each under its name.
    """
    named = list(ways.items())[: len(_STYLES)]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="28" {_TEXT} font-weight="bold">{escape(title)}</text>',
        *_legend([name for name, _ in named]),
        *_turnarounds([figures for _, figures in named]),
        *_loads([figures for _, figures in named]),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _legend(names: Sequence[str]) -> Iterator[str]:
    for number, name in enumerate(names):
        colour, dash = _STYLES[number]
        x = _LEFT + number * 290
        yield f'<line x1="{x}" y1="45" x2="{x + 30}" y2="45" stroke="{colour}" stroke-width="3" {_dashed(dash)}/>'
        yield f'<text x="{x + 38}" y="50" {_TEXT}>{escape(name)}</text>'


def _turnarounds(ways: Sequence[Figures]) -> Iterator[str]:
    longest = max((figures.turnaround(_SHOWN_SHARE) or 0.0 for figures in ways), default=0.0) or 1.0
    yield from _axes(_LEFT, "days from ready to reported", [f"{longest * step / _STEPS:.1f}" for step in range(5)])
    yield from _shares(_LEFT, "of the reads")
    for number, figures in enumerate(ways):
        days = [one for one in figures.turnarounds if one <= longest]
        if not days:
            continue
        every = max(1, len(days) // 200)
        points = [(0.0, 0.0)]
        points += [(days[at] / longest, (at + 1) / figures.reads) for at in range(0, len(days), every)]
        yield _line(_LEFT, points, *_STYLES[number])


def _loads(ways: Sequence[Figures]) -> Iterator[str]:
    x = _LEFT + _PANEL + _GAP
    most = max((load.relative for figures in ways for load in figures.loads), default=0.0) or 1.0
    yield from _axes(x, "people, the least loaded first", [""] * 5)
    for step in range(_STEPS + 1):
        yield _beside(x, step, f"{100 * most * step / _STEPS:.0f} %")
    yield f'<text x="{x}" y="{_TOP - 10}" {_TEXT}>points reported, of what they could</text>'
    for number, figures in enumerate(ways):
        ordered = sorted(load.relative / most for load in figures.loads)
        last = max(1, len(ordered) - 1)
        yield _line(x, [(at / last, share) for at, share in enumerate(ordered)], *_STYLES[number])


def _axes(x: int, below: str, labels: Sequence[str]) -> Iterator[str]:
    bottom = _TOP + _TALL
    for step, label in enumerate(labels):
        y = bottom - _TALL * step // _STEPS
        yield f'<line x1="{x}" y1="{y}" x2="{x + _PANEL}" y2="{y}" stroke="#e5e7eb"/>'
        at = x + _PANEL * step // _STEPS
        yield f'<text x="{at}" y="{bottom + 20}" text-anchor="middle" {_TEXT}>{escape(label)}</text>'
    yield f'<text x="{x + _PANEL // 2}" y="{bottom + 42}" text-anchor="middle" {_TEXT}>{escape(below)}</text>'


def _shares(x: int, of_what: str) -> Iterator[str]:
    for step in range(_STEPS + 1):
        yield _beside(x, step, f"{100 * step // _STEPS} %")
    yield f'<text x="{x}" y="{_TOP - 10}" {_TEXT}>{escape(of_what)}</text>'


def _beside(x: int, step: int, text: str) -> str:
    y = _TOP + _TALL - _TALL * step // _STEPS + 4
    return f'<text x="{x - 8}" y="{y}" text-anchor="end" {_TEXT}>{escape(text)}</text>'


def _line(x: int, points: Sequence[tuple[float, float]], colour: str, dash: str) -> str:
    at = " ".join(f"{x + _PANEL * across:.1f},{_TOP + _TALL * (1 - up):.1f}" for across, up in points)
    return f'<polyline points="{at}" fill="none" stroke="{colour}" stroke-width="2.5" {_dashed(dash)}/>'


def _dashed(dash: str) -> str:
    return f'stroke-dasharray="{dash}"' if dash else ""
