"""Draw the diagrams of the site: `python -m docs.figures.diagrams` writes SVG beside itself.

`algorithm` is one step of Adam, `architecture` the parts of the package with the imports between
them, read from the source, and `step` the files that a step of `ao.adamw` goes through.
"""

import ast
import functools
import itertools
import pathlib
import re
from collections.abc import Iterable, Sequence
from html import escape

from tests.project.test_layers import LEVEL, ROOT, imports, part

HERE = pathlib.Path(__file__).parent
CARD, BOX, INK, SOFT, LINE = "#fbfbf8", "#ffffff", "#1f1f1f", "#5c5c5c", "#8a8a86"
BLUE, RED, GREEN = "#0072b2", "#d55e00", "#009e73"
SERIF = "'STIX Two Text','Cambria',Georgia,'DejaVu Serif',serif"
SANS = "system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif"
MONO = "ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace"
Point = tuple[float, float]


class Drawing:
    """Gather the shapes of a diagram on a light card, so that dark pages show it as it is."""

    def __init__(self, width: int, height: int, title: str, description: str) -> None:
        self.size, self.title, self.description = (width, height), title, description
        self.shapes: list[str] = []

    def box(self, x: float, y: float, w: float, h: float, color: str = LINE) -> None:
        """Draw a rectangle with round corners."""
        self.shapes.append(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="7" fill="{BOX}" '
            f'stroke="{color}" stroke-width="1.6"/>'
        )

    def text(
        self,
        at: Point,
        words: str,
        size: float = 15,
        font: str = SANS,
        color: str = INK,
        anchor: str = "middle",
    ) -> None:
        """Write words about a point, or from it on."""
        x, y = at
        self.shapes.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" font-family="{font}" fill="{color}" '
            f'text-anchor="{anchor}">{escape(words)}</text>'
        )

    def arrow(self, points: Sequence[Point], color: str = SOFT, dashed: bool = False) -> None:
        """Draw a line through points, with a head at the last."""
        path = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
        self._path(path, color, dashed)

    def route(self, places: Sequence[Point], height: float) -> None:
        """Draw an arrow from a box to another, past what stands between them.

        Args:
            places: the upper middle of the boxes, and of the gaps between them.
            height: that of a box, and of a gap.
        """
        (x, y), *between, (u, v) = places
        path = f"M{x:g} {y + height:g}"
        now = x, y + height
        for at, top in (*between, (u, v - 2)):
            half = (now[1] + top) / 2
            path += f" C{now[0]:g} {half:g} {at:g} {half:g} {at:g} {top:g}"
            if (at, top) in between:
                path += f" L{at:g} {top + height:g}"
            now = at, top + height
        self._path(path, LINE, False)

    def _path(self, path: str, color: str, dashed: bool) -> None:
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self.shapes.append(
            f'<path d="{path}" fill="none" stroke="{color}" stroke-width="1.5"{dashes} '
            f'marker-end="url(#head)"/>'
        )

    def svg(self) -> str:
        """Return the file's text."""
        width, height = self.size
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="img">\n'
            f"<title>{escape(self.title)}</title>\n<desc>{escape(self.description)}</desc>\n"
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{SOFT}"/></marker>'
            "</defs>\n"
            f'<rect width="{width}" height="{height}" rx="10" fill="{CARD}"/>\n'
        )
        return head + "\n".join(self.shapes) + "\n</svg>\n"


def algorithm() -> str:
    """Draw one step of Adam with decoupled weight decay, from the gradient to the parameter."""
    d = Drawing(
        640,
        760,
        "One step of Adam",
        "The gradient updates the two averages, which are corrected for their start at zero; their "
        "quotient is the direction; weight decay is added, the learning rate multiplies, and the "
        "update is added to the parameter.",
    )

    def formula(
        x: float, y: float, w: float, words: str, below: str, color: str = LINE, tag: str = ""
    ) -> None:
        d.box(x, y, w, 70, color)
        d.text((x + w / 2, y + 31), words, 20, SERIF)
        d.text((x + w / 2, y + 56), below, 13, MONO, SOFT)
        at, anchor = (x + 4, "start") if color == BLUE else (x + w - 4, "end")
        d.text((at, y - 7), tag, 13, SANS, color, anchor)

    left, right, middle, wide = 30, 350, 190, 260
    d.box(245, 20, 150, 44)
    d.text((320, 48), "gradient g", 17)
    d.arrow([(290, 64), (160, 112)])
    d.arrow([(350, 64), (480, 112)])
    formula(left, 114, wide, "μ ← β₁ μ + (1 − β₁) g", "b1", BLUE, "mean")
    formula(right, 114, wide, "ν ← β₂ ν + (1 − β₂) g²", "b2", RED, "mean of squares")
    for x, color in ((left, BLUE), (right + wide, RED)):  # what is kept for the next step
        out = -18 if color == BLUE else 18
        d.arrow([(x, 168), (x + out, 168), (x + out, 132), (x, 132)], color, dashed=True)
    for x in (160, 480):
        d.arrow([(x, 184), (x, 220)])
    formula(left, 222, wide, "μ̂ = μ / (1 − β₁ᵗ)", "bias correction", BLUE)
    formula(right, 222, wide, "ν̂ = ν / (1 − β₂ᵗ)", "bias correction", RED)
    d.text((320, 244), "t", 20, SERIF)
    d.text((320, 262), "count", 13, MONO, SOFT)
    d.arrow([(309, 237), (292, 237)])
    d.arrow([(331, 237), (348, 237)])
    d.arrow([(160, 292), (265, 340)])
    d.arrow([(480, 292), (375, 340)])
    formula(middle, 342, wide, "d = μ̂ / (√ν̂ + ε)", "direction: eps")
    d.arrow([(320, 412), (320, 448)])
    formula(middle, 450, wide, "d + λ θ", "weight_decay, mask, coupling", GREEN)
    d.arrow([(320, 520), (320, 556)])
    formula(middle, 558, wide, "u = − α (d + λ θ)", "learning_rate")
    d.arrow([(320, 628), (320, 664)])
    formula(middle, 666, wide, "θ ← θ + u", "apply_updates, or ao.step", GREEN)
    d.text((575, 489), "θ", 20, SERIF)
    d.text((575, 508), "params", 13, MONO, SOFT)
    d.arrow([(552, 485), (452, 485)], GREEN)
    d.arrow([(450, 701), (575, 701), (575, 516)], GREEN, dashed=True)
    d.text((30, 480), "dashed: kept", 13, SANS, SOFT, "start")
    d.text((30, 497), "for the next step", 13, SANS, SOFT, "start")
    return d.svg()


WHAT = {
    "_core": "numbers, checks, dither",
    "moments": "what is remembered",
    "schedules": "warm-ups of papers",
    "directions": "moments to a step",
    "couplings": "decay and the rate",
    "rules": "the papers' boxes",
    "storage": "formats of moments",
    "_engine": "a step of all leaves",
    "_optax_interop": "optax's closures",
    "_transform": "scale_by, optimizer",
    "_step": "ao.step",
    "_alias": "adam, adamw, lion ...",
    "_wrappers": "clip, offload, memory",
    "precision": "16-bit parameters",
    "rows": "embedding tables",
    "release": "a layer at a time",
    "_watch": "ao.watch",
    "convert": "other programs' states",
    "conventions": "their names, defaults",
    "adapters": "Keras, Levanter",
    "__init__": "adam_optax, as ao",
    "aot": "compile reports",
    "lab": "comparisons on data",
    "cli": "adam-optax",
}
"""What each part of the package is for, in three words."""


@functools.cache
def imported() -> dict[str, frozenset[str]]:
    """Return the parts that each part imports."""
    found: dict[str, set[str]] = {name: set() for name in LEVEL}
    for path in sorted(ROOT.rglob("*.py")):
        here = path.relative_to(ROOT).parts[0].removesuffix(".py")
        found[here] |= {part(name) for _, name in imports(path)} - {here}
    return {name: frozenset(used) for name, used in found.items()}


def edges() -> list[tuple[str, str]]:
    """Return which part imports which, without what follows from other imports."""
    below: dict[str, frozenset[str]] = {}
    for name in LEVEL:  # from the lowest
        used = imported()[name]
        below[name] = used.union(*(below[each] for each in used))
    return sorted(
        (name, used)
        for name, all_used in imported().items()
        for used in all_used
        if not any(used in below[other] for other in all_used - {used})
    )


def levels() -> dict[str, int]:
    """Return the row of each part, counted from below: one above all that it imports."""
    found: dict[str, int] = {}
    for name in LEVEL:
        found[name] = 1 + max((found[used] for used in imported()[name]), default=-1)
    return found


Stop = tuple[str, ...]
"""A place in a row: a part, or where an arrow between two parts passes by."""


def paths() -> list[list[Stop]]:
    """Return for each arrow the places it goes through, one in each row."""
    level = levels()
    return [
        [(a,), *((a, b, str(row)) for row in range(level[a] - 1, level[b], -1)), (b,)]
        for a, b in edges()
    ]


def rows() -> list[list[Stop]]:
    """Order the places of each row, from above, so that arrows cross little."""
    routes = paths()
    stops = dict.fromkeys([*((name,) for name in imported()), *(s for p in routes for s in p)])
    found: dict[int, list[Stop]] = {}
    level = levels()
    for stop in stops:
        found.setdefault(level[stop[0]] if len(stop) == 1 else int(stop[2]), []).append(stop)
    beside: dict[Stop, list[Stop]] = {stop: [] for stop in stops}
    for path in routes:
        for one, other in itertools.pairwise(path):
            beside[one].append(other)
            beside[other].append(one)
    for _ in range(24):
        x = {s: (i + 0.5) / len(row) for row in found.values() for i, s in enumerate(row)}
        for row in found.values():
            mean = {s: sum(x[o] for o in beside[s]) / max(1, len(beside[s])) for s in row}
            row.sort(key=lambda stop: (mean[stop] + x[stop], stop))
    return [found[row] for row in sorted(found, reverse=True)]


def architecture() -> str:
    """Draw the parts of the package, what uses others above what is used."""
    width, step, height, wide, narrow = 1080, 80, 46, 152, 26
    ordered = rows()
    d = Drawing(
        width,
        step * len(ordered) + 30,
        "The parts of adam_optax and their imports",
        "Each part stands above those that it imports. "
        + " ".join(f"{a} imports {b}." for a, b in edges()),
    )
    places: dict[Stop, Point] = {}
    for row, stops in enumerate(ordered):
        sizes = [wide if len(stop) == 1 else narrow for stop in stops]
        gap = min(40.0, (width - 20 - sum(sizes)) / len(stops))
        x = (width - sum(sizes) - gap * (len(stops) - 1)) / 2
        for stop, size in zip(stops, sizes, strict=True):
            places[stop] = x + size / 2, 18 + row * step
            x += size + gap
    for path in paths():
        d.route([places[stop] for stop in path], height)
    for stop, (x, y) in places.items():
        if len(stop) == 1:
            (name,) = stop
            d.box(x - wide / 2, y, wide, height, LINE if re.match(r"_[a-z]", name) else BLUE)
            d.text((x, y + 19), name, 13.5, MONO)
            d.text((x, y + 37), WHAT[name], 12, SANS, SOFT)
    foot = "blue: public; an arrow goes to what is imported, and is left out where others imply it"
    d.text((width / 2, step * len(ordered) + 10), foot, 13, SANS, SOFT)
    return d.svg()


def route() -> list[tuple[str, str]]:
    """Return the files of a step of `ao.adamw`, each with its names, from CONTRIBUTING.md."""
    text = (HERE.parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.split("## One AdamW step, file by file")[1].split("\n## ")[0]
    items = re.split(r"^\d+\. ", section, flags=re.MULTILINE)[1:]
    found: list[tuple[str, list[str]]] = []
    for words in (name for item in items for name in re.findall(r"`([^`]+)`", item)):
        if re.fullmatch(r"[\w/]+\.py", words):
            found.append((words, []))
        elif found and {*words.strip("@").split(".")} & defined(ROOT / found[-1][0]):
            found[-1][1].append(words)
    return [(file, ", ".join(dict.fromkeys(names))) for file, names in found]


def defined(path: pathlib.Path) -> set[str]:
    """Return the names of the functions, classes and methods of a file."""
    kinds = ast.FunctionDef | ast.ClassDef
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)}


def step() -> str:
    """Draw the files that a step of `ao.adamw` goes through, in order."""
    files, gap, height = route(), 74, 54
    d = Drawing(
        640,
        gap * len(files) + 56,
        "A step of ao.adamw, file by file",
        "In order: " + ", ".join(f"{file} ({names})" for file, names in files) + ".",
    )
    d.text((320, 28), "ao.adamw(1e-3), then tx.update(grads, state, params)", 15, MONO)
    for i, (file, names) in enumerate(files):
        y = 54 + i * gap
        d.arrow([(320, y - (gap - height) if i else 36), (320, y - 2)])
        d.box(20, y, 600, height, LINE if file.startswith("_") or "/_" in file else BLUE)
        d.text((34, y + 24), f"{i + 1}", 14, SANS, SOFT, "start")
        d.text((62, y + 24), file, 14.5, MONO, INK, "start")
        d.text((608, y + 24), names, 13, MONO, SOFT, "end")
        first = (ast.get_docstring(ast.parse((ROOT / file).read_text())) or "").split("\n")[0]
        first = first.replace("`", "")
        d.text((62, y + 43), first, 12.5 * min(1, 76 / max(1, len(first))), SANS, SOFT, "start")
    return d.svg()


DIAGRAMS = {"algorithm": algorithm, "architecture": architecture, "step": step}


def main(names: Iterable[str] = DIAGRAMS) -> None:
    """Write the diagrams."""
    for name in names:
        (HERE / f"{name}.svg").write_text(DIAGRAMS[name](), encoding="utf-8")


if __name__ == "__main__":
    main()
