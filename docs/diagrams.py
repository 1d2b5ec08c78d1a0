"""Draw the diagrams in ``docs/_static/diagrams``: one SVG from each text file.

Run ``python docs/diagrams.py`` after a change to a text file. The first line of each names
its kind: a sequence of messages, a timeline, or a flow of questions. The diagrams are 360
pixels wide, so that they can be read on a phone, and follow the color scheme.
"""

from __future__ import annotations

import typing as t
from html import escape
from pathlib import Path
from textwrap import wrap

FOLDER = Path(__file__).parent / "_static" / "diagrams"

LIGHT = {
    "page": "#ffffff",
    "box": "#eef3f6",
    "text": "#1d2a33",
    "line": "#4a5c68",
    "good": "#14603f",
    "bad": "#9b2226",
}
"""The colors on a light page. Text, lines and verdicts are drawn on page and box."""

DARK = {
    "page": "#12181c",
    "box": "#24303a",
    "text": "#eef3f6",
    "line": "#a9bac5",
    "good": "#6fd3a4",
    "bad": "#ff9b93",
}
"""The colors on a dark page."""

WIDTH = 360
EDGE = 8
SIZE = 13
LEADING = 17
# The width of an average character, as a part of the size of the font.
AVERAGE = 0.53

Lines = t.Sequence[tuple[str, str]]


class Canvas:
    """Shapes and texts, and the height that they need so far."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.shapes: list[str] = []
        self.y = float(EDGE)

    def rect(
        self, x: float, y: float, width: float, height: float, kind: str = "box"
    ) -> None:
        """Draw a rectangle with round corners."""
        self.shapes.append(
            f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}"'
            f' height="{height:g}" rx="5"/>'
        )

    def line(self, points: t.Sequence[tuple[float, float]], kind: str = "line") -> None:
        """Draw a line through some points."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self.shapes.append(f'<polyline class="{kind}" points="{path}"/>')

    def arrow(
        self, points: t.Sequence[tuple[float, float]], kind: str = "line"
    ) -> None:
        """Draw a line with a tip at its last point."""
        self.line(points, kind)
        (x0, y0), (x, y) = points[-2:]
        length = max(abs(x - x0), abs(y - y0))
        dx, dy = 7 * (x - x0) / length, 7 * (y - y0) / length
        sides = [(x - dx - dy / 2, y - dy - dx / 2), (x - dx + dy / 2, y - dy + dx / 2)]
        tip = " ".join(f"{a:g},{b:g}" for a, b in [(x, y), *sides])
        self.shapes.append(f'<polygon class="tip" points="{tip}"/>')

    def text(
        self,
        lines: t.Sequence[str],
        x: float,
        y: float,
        *,
        anchor: str = "middle",
        kind: str = "text",
    ) -> None:
        """Write lines, the first one below ``y``."""
        for place, words in enumerate(lines):
            self.shapes.append(
                f'<text class="{kind}" x="{x:g}" y="{y + LEADING * place + SIZE:g}"'
                f' text-anchor="{anchor}">{escape(words, quote=False)}</text>'
            )

    def boxed(self, words: str, x: float, y: float, width: float) -> float:
        """Write in a box, and return where it ends."""
        lines = fold(words, width - 12)
        height = LEADING * len(lines) + 9
        self.rect(x, y, width, height)
        self.text(lines, x + width / 2, y + 3)
        return y + height

    def render(self) -> str:
        """Return the SVG."""
        height = f"{self.y + EDGE:g}"
        return "\n".join(
            [
                '<svg xmlns="http://www.w3.org/2000/svg" role="img"'
                f' width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">',
                f"<title>{escape(self.title)}</title>",
                "<style>",
                *_make_style(),
                "</style>",
                f'<rect class="page" width="{WIDTH}" height="{height}"/>',
                *self.shapes,
                "</svg>\n",
            ]
        )


def fold(words: str, width: float) -> list[str]:
    """Fold words into lines that fit into a width."""
    return wrap(words, int(width / (SIZE * AVERAGE)), break_long_words=False)


def _measure(words: str) -> float:
    return SIZE * (AVERAGE * len(words) + 1)


def _make_style() -> list[str]:
    rules = [
        (".page", "fill", "page"),
        (".box", "fill", "box"),
        (".box", "stroke", "line"),
        (".line,.dashed,.dotted", "stroke", "line"),
        (".accepted-bar", "stroke", "good"),
        (".rejected-bar", "stroke", "bad"),
        (".tip", "fill", "line"),
        (".text,.name", "fill", "text"),
        (".accepted", "fill", "good"),
        (".rejected", "fill", "bad"),
    ]
    light = [f"{name}{{{what}:{LIGHT[color]}}}" for name, what, color in rules]
    dark = [f"{name}{{{what}:{DARK[color]}}}" for name, what, color in rules]
    return [
        f"text{{font:{SIZE}px system-ui,sans-serif}}",
        ".name{font-weight:bold}",
        "polyline{fill:none;stroke-width:1.5}",
        ".dashed{stroke-dasharray:5 3}",
        ".dotted{stroke-dasharray:2 3}",
        ".accepted-bar,.rejected-bar{stroke-width:7}",
        ".rejected-bar{stroke-dasharray:7 4}",
        *light,
        "@media (prefers-color-scheme:dark){",
        *dark,
        "}",
    ]


def draw_sequence(canvas: Canvas, lines: Lines) -> None:
    """Draw messages between lanes, from top to bottom.

    ``A -> B`` is a request, ``A --> B`` a response, ``A`` something that A does, and
    ``== words ==`` the condition for what follows.
    """
    names = lines[0][1].split(", ")
    places = [WIDTH * (0.13 + 0.74 * i / (len(names) - 1)) for i in range(len(names))]
    lanes = dict(zip(names, places, strict=True))
    for name, x in lanes.items():
        width = 2 * (min(x, WIDTH - x) - EDGE / 2) if x != WIDTH / 2 else 116
        canvas.rect(x - width / 2, canvas.y, width, LEADING + 8)
        canvas.text([name], x, canvas.y + 3, kind="name")
    top = canvas.y + LEADING + 8
    canvas.y = top + 10
    under = len(canvas.shapes)
    for who, words in lines[1:]:
        if who.startswith("=="):
            canvas.y += 4
            canvas.line([(EDGE, canvas.y), (WIDTH - EDGE, canvas.y)], "dotted")
            condition = f"If {who.strip('= ')}:"
            canvas.rect(EDGE, canvas.y + 3, _measure(condition), LEADING, "page")
            canvas.text([condition], EDGE, canvas.y + 2, anchor="start")
            canvas.y += LEADING + 8
        elif "->" in who:
            _draw_message(canvas, lanes, who, words)
        else:
            x = lanes[who]
            canvas.y = canvas.boxed(words, x - 114, canvas.y, 228) + 9
    lifelines = canvas.shapes[:under]
    messages = canvas.shapes[under:]
    canvas.shapes = lifelines
    for x in lanes.values():
        canvas.line([(x, top), (x, canvas.y)], "dotted")
    canvas.shapes += messages


def _draw_message(
    canvas: Canvas, lanes: t.Mapping[str, float], who: str, words: str
) -> None:
    is_answer = "-->" in who
    sender, _, receiver = who.partition(" --> " if is_answer else " -> ")
    start, end = lanes[sender], lanes[receiver]
    gap = abs(end - start)
    folded = fold(words, gap - 8)
    height = LEADING * len(folded)
    # The background hides the lifelines behind the words.
    canvas.rect(min(start, end) + 3, canvas.y, gap - 6, height, "page")
    canvas.text(folded, (start + end) / 2, canvas.y)
    canvas.y += height + 6
    canvas.arrow(
        [(start, canvas.y), (end, canvas.y)], "dashed" if is_answer else "line"
    )
    canvas.y += 10


def draw_timeline(canvas: Canvas, lines: Lines) -> None:
    """Draw logins, each from its beginning, and what becomes of them at a cutoff."""
    at, _, words = lines[0][1].partition(", ")
    cutoff = _place(at)
    canvas.text([words], cutoff, canvas.y, kind="name")
    top = canvas.y = canvas.y + LEADING + 4
    under = len(canvas.shapes)
    for kind, value in lines[1:]:
        if kind == "mark":
            at, _, words = value.partition(", ")
            y = canvas.y - LEADING - 24
            canvas.line([(_place(at), y - 10), (_place(at), y + 4)])
            canvas.text([words], _place(at) + 5, y - SIZE - 10, anchor="start")
            continue
        at, name, verdict, words = value.split(", ", 3)
        _draw_login(canvas, _place(at), cutoff, (name, verdict, words))
    canvas.y -= 8
    shapes = canvas.shapes[under:]
    del canvas.shapes[under:]
    canvas.line([(cutoff, top), (cutoff, canvas.y)], "dashed")
    canvas.shapes += shapes
    canvas.arrow([(EDGE, canvas.y), (WIDTH - EDGE, canvas.y)])
    canvas.text(["time"], WIDTH - EDGE, canvas.y + 2, anchor="end")
    canvas.y += LEADING + 4


def _draw_login(
    canvas: Canvas, start: float, cutoff: float, words: tuple[str, str, str]
) -> None:
    name, verdict, why = words
    is_good = verdict == "accepted"
    end = _place("100")
    canvas.rect(EDGE, canvas.y + 1, 1.1 * _measure(name + verdict), LEADING, "page")
    canvas.shapes.append(
        f'<text class="name" x="{EDGE}" y="{canvas.y + SIZE:g}">{escape(name)}:'
        f' <tspan class="{verdict}">{verdict}</tspan></text>'
    )
    y = canvas.y + LEADING + 8
    canvas.line([(start, y), (end if is_good else cutoff, y)], "accepted-bar")
    if not is_good:
        canvas.line([(cutoff, y), (end, y)], "rejected-bar")
    canvas.rect(EDGE, y + 7, _measure(why), LEADING, "page")
    canvas.text([why], EDGE, y + 6, anchor="start")
    canvas.y = y + LEADING + 24


def _place(percent: str) -> float:
    return EDGE + (WIDTH - 2 * EDGE) * int(percent) / 100


def draw_flow(canvas: Canvas, lines: Lines) -> None:
    """Draw questions, one below the other, and what their answers lead to.

    ``down`` leads to the next question, ``leave`` to an end, and ``detour`` to an end
    that comes back before the next question.
    """
    left, right = (EDGE, 182.0), (228.0, WIDTH - EDGE - 228.0)
    middle = left[0] + left[1] / 2
    bottom = begin = canvas.y
    returns, answer = False, ""
    for kind, words in lines:
        if kind in ("leave", "detour"):
            label, _, words = words.partition(", ")
            y = begin + 13
            canvas.arrow([(sum(left), y), (right[0], y)])
            canvas.text([label], (sum(left) + right[0]) / 2, y - LEADING - 2)
            canvas.y = canvas.boxed(words, right[0], begin, right[1])
            returns = kind == "detour"
        elif kind == "down":
            answer = words
        else:
            if bottom > EDGE:
                begin = max(bottom + 34, canvas.y + (30 if returns else 10))
                canvas.arrow([(middle, bottom), (middle, begin)])
                canvas.text([answer], middle + 6, bottom + 4, anchor="start")
            if returns:
                x, y = right[0] + right[1] / 2, begin - 14
                canvas.arrow([(x, canvas.y), (x, y), (middle, y)], "dashed")
            bottom = canvas.y = canvas.boxed(words, left[0], begin, left[1])
            returns, answer = False, ""


KINDS: dict[str, t.Callable[[Canvas, Lines], None]] = {
    "sequence": draw_sequence,
    "timeline": draw_timeline,
    "flow": draw_flow,
}


def draw(source: str) -> str:
    """Draw the SVG of a text file."""
    lines = [_split(line) for line in source.splitlines()]
    (_, kind), (_, title) = lines[:2]
    canvas = Canvas(title)
    KINDS[kind](canvas, lines[2:])
    return canvas.render()


def _split(line: str) -> tuple[str, str]:
    who, _, words = line.partition(": ")
    return who, words


def main() -> None:
    """Draw them all."""
    for path in sorted(FOLDER.glob("*.txt")):
        path.with_suffix(".svg").write_text(draw(path.read_text()))


if __name__ == "__main__":
    main()
