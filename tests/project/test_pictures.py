"""Hold all figures to one colour and one dash for each optimiser, told apart by any eye."""

import importlib
import itertools
import math
import pathlib
import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

import adam_optax as ao
from adam_optax._core.plotting import (
    COLORS,
    DASHES,
    STYLES,
    Style,
    optimizer_styles,
    ordered_styles,
)
from adam_optax._watch import plot as watch_plot
from adam_optax.lab import Comparison, Point, Problem, Run, Sweep, problems
from adam_optax.lab.optimizers import DEFAULT_OPTIMIZERS, _factories
from adam_optax.lab.paper.draw import figure as paper_figure
from adam_optax.lab.paper.figures import FIGURES
from adam_optax.lab.paper.report import read
from adam_optax.lab.reports import loss_plot, sweep_plot
from adam_optax.lab.reports.sweep_plot import Panel

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = ROOT / "adam_optax" / "lab" / "paper" / "results"
DRAWING = {
    "adam_optax/_watch/plot.py": "layers, in an order",
    "adam_optax/lab/paper/draw.py": "optimisers of the paper",
    "adam_optax/lab/reports/canvas.py": "nothing by itself",
    "adam_optax/lab/reports/loss_plot.py": "optimisers compared",
    "adam_optax/lab/reports/sweep_map.py": "losses as colours",
    "adam_optax/lab/reports/sweep_plot.py": "optimisers, or values in an order",
    "benchmarks/cluster_results.py": "Adam in formats of few bits",
    "benchmarks/rows.py": "ways to keep a table",
    "benchmarks/rows_training.py": "ways to keep a table",
    "benchmarks/side_by_side.py": "this library's optimisers, and those of others",
}
"""What each module that draws draws; a new one is to be added here, and tested below."""


ONES = np.ones(3, np.float32)


def drawing_modules() -> set[str]:
    """Return the modules that draw lines, marks or maps."""
    draws = re.compile(r"axe?s\w*\.(plot|fill_between|pcolormesh|errorbar|bar|scatter|text)\(")
    return {
        str(path.relative_to(ROOT))
        for folder in ("adam_optax", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if draws.search(path.read_text())
    }


def test_every_module_that_draws_is_known() -> None:
    assert drawing_modules() <= DRAWING.keys()
    assert all((ROOT / name).exists() for name in DRAWING)


def test_colours_are_chosen_in_one_place() -> None:
    """No module has colours of its own for lines: hex codes, C0 or tab:blue."""
    own = re.compile(r"""["'](C\d|tab:\w+|#[0-9a-fA-F]{6})["']""")
    allowed = {"#555555", "#dddddd"}  # of notes, and of what is not known in a map
    found = {
        f"{name}: {code}"
        for name in DRAWING
        for code in own.findall((ROOT / name).read_text())
        if code not in allowed
    }
    assert not found


@pytest.mark.quick
def test_every_optimiser_has_a_line_of_its_own() -> None:
    assert len(set(STYLES.values())) == len(STYLES)
    assert STYLES.keys() >= _factories(ao).keys()
    assert {style.color for style in STYLES.values()} <= set(COLORS)
    assert {style.dashes for style in STYLES.values()} <= set(DASHES)


def test_strangers_get_stable_lines_that_are_free() -> None:
    alone = optimizer_styles(["mine"])["mine"]
    assert alone not in STYLES.values()
    assert optimizer_styles(["other", "adam", "mine"])["mine"] == alone
    assert optimizer_styles(["Adam"])["Adam"] == STYLES["adam"]
    free = len(COLORS) * len(DASHES) - len(STYLES)
    names = [f"own {i}" for i in range(free)] + list(STYLES)
    styles = optimizer_styles(names)
    assert list(styles) == names
    assert len(set(styles.values())) == len(names)
    with pytest.raises(ValueError, match="65 lines are too many for a figure; draw fewer"):
        optimizer_styles([f"own {i}" for i in range(65)])


def test_a_storage_format_keeps_the_colour() -> None:
    styles = optimizer_styles(["adam", "adam pair", "adam pair(3)", "optax.adam"])
    assert {styles[name].color for name in ("adam", "adam pair", "adam pair(3)")} == {COLORS[0]}
    assert len(set(styles.values())) == 4
    assert optimizer_styles(["adam pair"])["adam pair"] == styles["adam pair"]


# Machado, Oliveira & Fernandes, A Physiologically-based Model for Simulation of Color Vision
# Deficiency, 2009: the matrices for a severity of 1, of linear RGB.
DEFICIENCIES = {
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
}


def linear(color: str) -> NDArray[Any]:
    """Return a colour as linear RGB."""
    srgb = np.asarray(to_rgb(color))
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: NDArray[Any]) -> NDArray[Any]:
    """Return linear RGB as CIELAB, in which distances are those that eyes see."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.asarray(to_xyz) @ np.clip(rgb, 0, 1) / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("kind", DEFICIENCIES)
def test_what_looks_alike_to_a_colour_blind_eye_has_another_dash(kind: str) -> None:
    """Check every pair of optimisers: two may be compared. 15 in CIELAB is plainly unlike."""
    seen = {color: lab(np.asarray(DEFICIENCIES[kind]) @ linear(color)) for color in COLORS}
    for (one, a), (other, b) in itertools.combinations(STYLES.items(), 2):
        alike = float(np.linalg.norm(seen[a.color] - seen[b.color])) < 15
        assert not alike or a.dashes != b.dashes, (one, other)


@pytest.mark.parametrize("panel", ["default", "figure1", "figure2", "figure3", "figure4"])
def test_dashes_alone_tell_the_usual_company_apart(panel: str) -> None:
    """Check those that stand in one figure by default: in print without colours, dashes are all."""
    figures = [[x.optimizer.name for x in one.contenders] for one in FIGURES.get(panel, ())]
    for names in figures or [list(DEFAULT_OPTIMIZERS)]:
        dashes = [style.dashes for style in optimizer_styles(names).values()]
        assert len(set(dashes)) == len(names)


def test_colours_are_dark_enough_for_white() -> None:
    """Contrast of a line with white: at least 2 (WCAG asks 3 of what must be seen alone)."""
    for color in COLORS:
        luminance = float(linear(color) @ [0.2126, 0.7152, 0.0722])
        assert 1.05 / (luminance + 0.05) >= 2.0, color


def lines(drawn: Figure) -> dict[str, set[tuple[str, str]]]:
    """Return the colours and dashes of a figure's lines, by the optimiser in the legend."""
    found: dict[str, set[tuple[str, str]]] = {}
    legends = [*drawn.legends, *(a.get_legend() for a in drawn.axes if a.get_legend())]
    for legend in legends:
        assert legend is not None
        for text, handle in zip(legend.get_texts(), legend.get_lines(), strict=True):
            name = text.get_text().split(", rate")[0].split(", epoch")[0].split(" (")[0]
            found.setdefault(name, set()).add((to_hex(handle.get_color()), _dashes(handle)))
    return found


def _dashes(line: Any) -> str:
    """Return how long the dashes are beside each other; a figure chooses the scale of all."""
    _, pattern = line._unscaled_dash_pattern
    return str(pattern and [round(length / pattern[0], 6) for length in pattern])


def expected(names: Iterable[str]) -> dict[str, set[tuple[str, str]]]:
    """Return the colours and dashes of the registry, as matplotlib keeps them."""
    axes = Figure().add_subplot()
    drawn = {n: axes.plot([0], [0], **s.line())[0] for n, s in optimizer_styles(names).items()}
    return {n: {(to_hex(line.get_color()), _dashes(line))} for n, line in drawn.items()}


def made_up_run(name: str, seed: int = 0) -> Run:
    losses = np.geomspace(2, 0.1, 60, dtype=np.float32)
    return Run(name, seed, 0.01, losses, (1.0, 0.2), 0.9, 5, 1e-4, 8.0, False, (0.5, 0.9))


def made_up_sweep(problem: Problem, names: Iterable[str], *, loss: float = 0.1) -> Sweep:
    points = tuple(
        Point(
            name, {"learning_rate": rate}, 0, np.ones(3, "f4"), np.full(1, loss * rate, "f4"), 0.5
        )
        for name in names
        for rate in (0.01, 0.1, 1.0)
    )
    return Sweep(problem, points, len(points))


def test_compared_optimisers_have_the_lines_of_the_registry() -> None:
    names = [*DEFAULT_OPTIMIZERS, "lion", "own", "adam pair"]
    runs = tuple(made_up_run(name, seed) for name in names for seed in (0, 1))
    drawn = loss_plot.figure(Comparison(problems["digits"], runs, len(runs), False))
    assert lines(drawn) == expected(names)
    training, testing = drawn.axes
    long: Any = [line for line in training.lines if line.get_color() == STYLES["lion"].color]
    (wide,) = (line for line in long if line._dash_pattern[1])
    # As long as in a thin line: matplotlib would make the dashes of a wide line longer.
    assert wide._dash_pattern[1] == pytest.approx([18.0, 5.4])
    assert testing.get_ylabel() == "error on the test set (%)"
    for axes in (training, testing):
        assert axes.get_legend() is None  # outside, where it hides no curve
        assert axes.get_xlabel()


def test_swept_optimisers_have_the_lines_of_the_registry() -> None:
    names = ["adam", "nadam", "yogi"]
    sweep = made_up_sweep(problems["digits"], names)
    assert lines(sweep_plot.figure([Panel("", sweep)], "x")) == expected(names)
    (axes,) = sweep_plot.figure([Panel("", made_up_sweep(problems["digits"], ["lion"]))], "x").axes
    assert axes.lines[0].get_color() == STYLES["lion"].color


@pytest.mark.parametrize("name", ["figure1", "figure2", "figure3", "figure4"])
def test_the_papers_optimisers_have_the_lines_of_the_registry(name: str) -> None:
    drawn = paper_figure(name, read(RESULTS / f"reproduce-{name}.csv"), "made up")
    names = {one.optimizer.name for panel in FIGURES[name] for one in panel.contenders}
    assert lines(drawn) == expected(sorted(names))


def test_an_average_shows_no_kink() -> None:
    """The first curve begins where the window is full, and is straight where the loss is."""
    (run,) = (made_up_run("adam"),)
    drawn = loss_plot.figure(Comparison(problems["digits"], (run,), 1, False))
    (curve,) = drawn.axes[0].lines[:1]
    x, y = (np.asarray(data, np.float64) for data in curve.get_data())
    assert x[0] == 20
    np.testing.assert_allclose(np.diff(np.log(y)), np.diff(np.log(run.losses)).mean(), rtol=1e-3)


def test_what_diverged_is_said_in_the_figure() -> None:
    lost = Run("adam", 0, 1e30, np.full(3, np.nan, "f4"), (math.nan,), 0.1, None, 1.0, 8.0, True)
    drawn = loss_plot.figure(Comparison(problems["digits"], (lost,), 1, False))
    said = [text.get_text() for axes in drawn.axes for text in axes.texts]
    assert said == [
        "every run diverged: a loss was not finite;\ntry lower learning rates",
        "every run diverged",
    ]
    loss_plot.render(drawn, "png", dpi=30)
    swept = made_up_sweep(problems["digits"], ["optax.sgd"], loss=math.inf)
    drawn = sweep_plot.figure([Panel("", swept)], "x")
    (text,) = drawn.axes[0].texts
    assert text.get_text().startswith("every run diverged (learning rate 0.01 to 1):")


def grid_sweep(**values: tuple[float, ...]) -> Sweep:
    points = tuple(
        Point(
            "adam",
            dict(zip(values, point, strict=True)),
            0,
            np.ones(3, "f4"),
            np.full(1, 0.1, "f4"),
            0.5,
        )
        for point in itertools.product(*values.values())
    )
    return Sweep(problems["digits"], points, len(points))


def test_the_title_names_the_only_optimiser_and_no_legend_does() -> None:
    drawn = loss_plot.figure(Comparison(problems["digits"], (made_up_run("adam"),), 1, False))
    assert drawn.get_suptitle() == "digits, adam at rate 0.01: seed 0; 2 epochs"
    assert not drawn.legends


def test_two_numbers_are_a_map_with_the_default_and_the_chosen_framed() -> None:
    sweep = grid_sweep(b1=(0.8, 0.9, 0.95), b2=(0.99, 0.999, 0.9999))
    drawn = sweep_plot.figure([Panel("", sweep, sweep.settings[0], "chosen")], "x")
    axes, bar = drawn.axes
    assert bar.get_ylabel() == "training loss at the end (nats)"
    words = {text.get_text(): text.get_position() for text in axes.texts}
    assert words["chosen"][0] == 0
    assert words["default"][0] == 1  # b1 of 0.9 is in the second column, b2 of 0.999 in the row
    assert round(words["default"][1]) == 1
    assert len(axes.patches) == 2
    # White on a bright cell would not be seen: each frame has a dark edge.
    assert all(patch.get_path_effects() for patch in axes.patches)
    assert sum(text.get_text() == "0.100" for text in axes.texts) == 9


def test_a_decay_rate_is_drawn_by_its_distance_from_one() -> None:
    sweep = grid_sweep(b2=(0.9, 0.99, 0.999, 0.9999))
    (axes,) = sweep_plot.figure([Panel("", sweep)], "x").axes
    assert axes.get_xscale() == "log"
    assert axes.get_xaxis().get_inverted()
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "0.9",
        "0.99",
        "0.999",
        "0.9999",
    ]
    assert "default" in [text.get_text() for text in axes.texts]
    assert axes.get_xlabel() == "b2, by its distance from 1"


def test_a_decay_rate_of_one_can_be_drawn() -> None:
    """`sweep --set b1=1.0` ended in matplotlib's traceback, after all of the training."""
    for values in ((1.0,), (0.9, 1.0), (0.0, 0.9), (0.9, 1.5)):
        drawn = sweep_plot.figure([Panel("", grid_sweep(b1=values))], "x")
        assert loss_plot.render(drawn, "png", dpi=30).startswith(b"\x89PNG")
        (axes,) = drawn.axes
        assert np.isfinite(axes.get_xlim()).all()
        shown = {float(x) for line in axes.get_lines() for x in np.asarray(line.get_xdata())}
        assert len(shown & {*values, *(1 - x for x in values)}) == len(values)


def test_a_rate_far_away_does_not_press_the_others_into_a_corner() -> None:
    points = tuple(
        Point("adam", {"learning_rate": rate}, 0, ONES, np.full(1, loss, "f4"), 0.5)
        for rate, loss in ((0.01, 0.2), (0.1, 0.1), (1e30, math.inf))
    )
    (axes,) = sweep_plot.figure([Panel("", Sweep(problems["digits"], points, 3))], "x").axes
    assert axes.get_xlim()[1] < 10
    assert "1e+30" in [text.get_text() for text in axes.texts]


def readings(layers: int) -> dict[str, dict[str, NDArray[Any]]]:
    steps = np.arange(1, 6)
    one = {q: np.full(5, 0.01) for q in ("update_ratio", "signal_to_noise", "grad_rms")}
    one |= {q: np.zeros(5) for q in ("eps_share", "storage_error", "nonfinite")}
    one |= {q: np.full((5, 5), 0.1) for q in ("step_size", "root_nu")}
    found = {f"params/block_{i}/kernel": {"step": steps, **one} for i in range(layers)}
    odd = f"params/block_{layers // 2}/kernel"
    found[odd] = found[odd] | {"grad_rms": np.full(5, 1.0)}
    return found


@pytest.mark.parametrize("layers", [1, 4, pytest.param(100, marks=pytest.mark.heavy)])
def test_watched_layers_have_axes_names_and_decades(layers: int) -> None:
    drawn = watch_plot.figure(readings(layers), "digits, adam at 0.01")
    assert drawn.get_suptitle().startswith("digits, adam at 0.01")
    by_title = {axes.get_title(loc="left"): axes for axes in drawn.axes}
    if layers <= 10:
        assert by_title["signal to noise"].get_yscale() == "log"
        assert by_title["signal to noise"].get_ylabel() == "mean of mu²/nu"
        names = [text.get_text() for text in drawn.subfigs[0].legends[0].get_texts()]
        assert len(set(names)) == layers
        assert len(drawn.axes) == 4 + 2 * layers  # of four quantities one is all 0, and left out
    else:
        legends = [axes.get_legend() for axes in drawn.axes if axes.get_legend()]
        assert len(legends) == 5
        gradients = [text.get_text() for text in legends[2].get_texts()]  # type: ignore[union-attr]
        assert "block_50/kernel" in gradients
        assert len(gradients) == 5  # the range of all, and the four least like the others


def test_the_odd_layers_are_found() -> None:
    table = np.ones((20, 3))
    table[7], table[11] = 1e-3, 50.0
    table[3] = np.nan
    assert watch_plot.most_unlike(table, 2, is_share=False) == [7, 11]
    assert watch_plot.most_unlike(np.zeros((5, 2)), 2, is_share=False) == [0, 1]
    shares = np.zeros((5, 2))
    shares[4] = 0.5
    assert watch_plot.most_unlike(shares, 1, is_share=True) == [4]


def test_values_in_an_order_go_from_dark_to_bright() -> None:
    styles = ordered_styles(5)
    bright = [float(linear(style.color) @ [0.2126, 0.7152, 0.0722]) for style in styles]
    assert bright == sorted(bright)
    assert len({style.dashes for style in styles}) == 5
    assert len(ordered_styles(1)) == 1


@pytest.mark.parametrize("module", [name for name in DRAWING if name.startswith("benchmarks")])
def test_benchmarks_draw_with_the_registry(module: str) -> None:
    source = importlib.import_module(module.removesuffix(".py").replace("/", "."))
    styles: dict[str, Style] | Callable[..., Style] = source.STYLES
    assert styles is not None
    assert set(styles.values()) <= {Style(c, d) for c in COLORS for d in DASHES}  # type: ignore[union-attr]
