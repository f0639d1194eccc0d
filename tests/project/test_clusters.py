"""Check what `benchmarks.clusters` compiles, keeps and tables; nothing is compiled here."""

import collections
import math
import os
import time
from pathlib import Path
from typing import Any

import pytest
from jax.sharding import PartitionSpec as P

from adam_optax.aot import targets
from benchmarks import cluster_cells, clusters
from benchmarks import cluster_results as results
from benchmarks.cluster_cells import BOTH, EXPERT, FSDP, PARALLEL, ZERO, ZERO_WHOLE, Cell
from benchmarks.cluster_results import COMPILED, FAILED, NO_ROOM, SLOW, Result

DENSE = cluster_cells.MODELS["7.5 B"]
WITH_EXPERTS = cluster_cells.MODELS["663 B, 256 experts"]
FIRST = Cell("7.5 B", "v5p", 256, FSDP, "float32", "ao.step")
MADE = Result(COMPILED, "", 8, 16, 112, 28.0, "all-gather 2", 64, 1_260_000, 0, 3, 9.5, "jax 0")


@pytest.mark.quick
def test_the_most_telling_cells_come_first() -> None:
    cells = cluster_cells.cells()
    assert len(set(cells)) == len(cells)
    first = cells[:24]
    assert {c[1::2] for c in first} == {("v5p", FSDP, "ao.step")}
    assert {c.chips for c in first} == {256, 1024}
    assert {c.model for c in first} == {"7.5 B", "70 B", "405 B"}
    assert {c.storage for c in first} == set(cluster_cells.FORMATS)
    assert all((c.layout == EXPERT) == ("experts" in c.model) for c in cells)
    assert {c.chips for c in cells if c.accelerator == "h100"} == {16, 256, 1024}


def test_models_have_the_sizes_that_they_are_named_for() -> None:
    for name, shapes in cluster_cells.MODELS.items():
        size = sum(math.prod(x.shape) for x in shapes.values()) / 1e9
        assert size == pytest.approx(float(name.split(" B")[0]), rel=0.01), name


@pytest.mark.quick
@pytest.mark.parametrize("layout", cluster_cells.LAYOUTS)
def test_a_mesh_has_all_chips(layout: str) -> None:
    for accelerator, slices in cluster_cells.SLICES.items():
        for chips in slices:
            sizes = cluster_cells.axes(layout, accelerator, chips)
            assert math.prod(sizes.values()) == chips
            if "model" in sizes:
                assert sizes["model"] == (8 if accelerator == "h100" else 16)


SPECS: dict[tuple[str, int], dict[str, P]] = {
    (FSDP, 256): {"up": P(None, "data", None), "embed": P("data", None), "norms": P(None, "data")},
    (FSDP, 1024): {"down": P(None, ("data", "rest"), None)},
    (FSDP, 4096): {"down": P(None, "data", "rest")},  # 14,336 rows are no multiple of 4,096
    (PARALLEL, 256): {
        "up": P(None, None, "model"),
        "down": P(None, "model", None),
        "head": P("model", None),
        "norms": P(None, None),
    },
    (BOTH, 256): {"up": P(None, "data", "model"), "down": P(None, ("model", "data"), None)},
    (ZERO, 256): {"up": P(None, None, "model"), "down": P(None, "model", None)},
    (ZERO_WHOLE, 256): {"up": P(), "norms": P()},
    (EXPERT, 256): {"up": P(None, "data", None, None), "query": P(None, "data", None)},
    (EXPERT, 1024): {"down": P(None, "data", "rest", None), "out": P(None, ("data", "rest"), None)},
}
"""Where parameters are: on v5p, by sharding and number of chips."""


@pytest.mark.quick
@pytest.mark.parametrize(("layout", "chips"), SPECS)
def test_each_axis_is_where_the_sharding_says(layout: str, chips: int) -> None:
    shapes = WITH_EXPERTS if layout == EXPERT else DENSE
    sizes = cluster_cells.axes(layout, "v5p", chips)
    for name, expected in SPECS[layout, chips].items():
        assert cluster_cells.spec(layout, name, shapes[name].shape, sizes) == expected, name


def parts(spec: P, sizes: dict[str, int]) -> list[int]:
    """Return in how many parts each axis of an array is."""
    names = [(x,) if isinstance(x, str) else x or () for x in spec]
    return [math.prod(sizes[n] for n in of) for of in names]


def test_every_matrix_is_spread_evenly_over_the_chips() -> None:
    for c in dict.fromkeys(c._replace(storage="", way="") for c in cluster_cells.cells()):
        sizes = cluster_cells.axes(c.layout, c.accelerator, c.chips)
        for name, x in cluster_cells.MODELS[c.model].items():
            found = parts(cluster_cells.spec(c.layout, name, x.shape, sizes), sizes)
            assert all(size % n == 0 for size, n in zip(x.shape, found, strict=False))
            if c.layout in (FSDP, BOTH, EXPERT) and name != "norms":
                assert math.prod(found) == c.chips, (c, name)


@pytest.mark.quick
@pytest.mark.parametrize("layout", [ZERO, ZERO_WHOLE])
def test_zero_1_spreads_the_moments_over_all_chips(layout: str) -> None:
    sizes = cluster_cells.axes(layout, "v5p", 256)
    spread = cluster_cells.state_layout(layout)
    for name in ("up", "down", "embed"):
        shape = DENSE[name].shape
        assert math.prod(parts(cluster_cells.spec(spread, name, shape, sizes), sizes)) == 256
        assert math.prod(parts(cluster_cells.spec(layout, name, shape, sizes), sizes)) < 256


def test_units_that_do_not_divide_are_whole_on_every_chip() -> None:
    sizes = {"data": 16, "model": 16, "rest": 1}
    given = P(None, ("data", "rest"), "model")
    assert cluster_cells.fitted(given, (32, 4096, 8), sizes) == P(None, "data", None)
    assert cluster_cells.fitted(given, (32, 4096, 1024), sizes) == P(None, "data", "model")


@pytest.mark.quick
def test_a_run_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    order = cluster_cells.cells()
    assert results.read(path) == {}
    for cell in order[:2]:
        results.append(cell, MADE, path)
    whole = path.read_text()
    results.append(order[2], MADE, path)
    path.write_text(path.read_text()[: len(whole) + 20])  # killed while it wrote the third
    found = results.read(path)
    assert found == dict.fromkeys(order[:2], MADE)
    assert results.missing(found) == order[2:]
    results.append(order[2], MADE._replace(reason='say "no", twice'), path)
    assert list(results.read(path)) == order[:3]
    assert results.read(path)[order[2]].reason == 'say "no", twice'


def test_some_cells_can_be_asked_for() -> None:
    found = results.missing({}, r"^70 B/h100/1024/FSDP/.*/update$")
    assert [c.storage for c in found] == list(cluster_cells.FORMATS)


def test_a_file_that_is_damaged_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    results.append(FIRST, MADE, path)
    good = path.read_text()
    path.write_text(good + "7.5 B,v5p\n")
    with pytest.raises(ValueError, match=r"line 3: 2 fields, not \d+; delete the line"):
        results.read(path)
    path.write_text(good.replace("compiled", "guessed"))
    with pytest.raises(ValueError, match="line 2: outcome 'guessed' is none of compiled, does not"):
        results.read(path)
    path.write_text(good.replace("112", "many"))
    with pytest.raises(ValueError, match="line 2: invalid literal for int"):
        results.read(path)
    path.write_text(good.replace("v5p", "v9"))
    with pytest.raises(ValueError, match=r"line 2: 7\.5 B/v9/256/.* is no cell of this command"):
        results.read(path)
    path.write_bytes(b"\xff\n")
    with pytest.raises(ValueError, match="is no text; move the file away"):
        results.read(path)
    path.write_text("a,b\n")
    with pytest.raises(ValueError, match="line 1 is not model,accelerator"):
        results.read(path)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--minutes", "-1"], "--minutes must be 0 or more, not -1"),
        (["--minutes", "nan"], "--minutes must be 0 or more, not nan"),
        (["--minutes", "1", "--limit", "0"], "--limit must be positive, not 0"),
        (["--only", "70 B"], "--only says what to compile: write --minutes, too"),
        (["--minutes", "1", "--only", "("], "--only '(' is no regular expression: missing )"),
        (["--minutes", "1", "--only", "v4"], "--only 'v4' matches no cell, such as 7.5 B/v5p/"),
    ],
)
def test_bad_arguments_are_named(
    wrong: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        clusters.main(wrong)
    assert said in capsys.readouterr().err


@pytest.mark.quick
def test_nothing_is_compiled_or_kept_without_the_compilers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(targets, "missing", lambda _: ["libtpu"])
    monkeypatch.setattr(results, "read", lambda: {})
    with pytest.raises(SystemExit):
        clusters.main(["--minutes", "1"])
    assert "libtpu is not installed: pip install 'adam-optax[aot]'" in capsys.readouterr().err


def test_a_row_has_the_least_and_the_most_of_its_cells() -> None:
    found = {
        FIRST: MADE,
        FIRST._replace(chips=1024): MADE._replace(moved_each=28.31, scratch=0),
        FIRST._replace(storage="pair()"): MADE._replace(moved_each=16.04, collectives=""),
        FIRST._replace(model="405 B"): Result(NO_ROOM, "too large", 1, 2),
        FIRST._replace(model="70 B"): Result(SLOW, "over 9 s"),
    }
    text, _, *rows = results.summary(found).splitlines()
    assert len(rows) == 7
    total = len(cluster_cells.cells())
    assert text == (
        f"Of {total:,} steps 3 are compiled; 1 do not fit into the chips' memory; "
        f"1 took longer than the limit; {total - 5:,} are left."
    )
    assert rows[2] == "| FSDP | `ao.step` | v5p | 28.0 to 28.3 |  | 16.0 |  |"
    assert rows[6] == "| FSDP | `ao.step` | v5p | 3 | all-gather | 64 B | 0 B to 1.26 MB |"


@pytest.mark.quick
def test_the_page_has_the_table_of_the_file() -> None:
    """Make it with `python -m benchmarks.clusters`."""
    text = results.PAGE.read_text(encoding="utf-8")
    made = results.summary(results.read())
    assert f"<!-- clusters -->\n{made}\n<!-- /clusters -->" in text
    assert results.FIGURE.exists()


def test_the_file_has_steps_of_this_command_that_fit() -> None:
    found = results.read()
    assert found.keys() <= set(cluster_cells.cells())
    for cell, one in found.items():
        room = cluster_cells.MEMORY[cell.accelerator]
        if one.outcome == COMPILED:
            assert one.arguments + one.scratch + one.copied <= room, cell
            assert one.moved >= one.arguments, cell  # everything is read at least
        else:
            assert one.reason, cell


def test_the_page_is_written_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- clusters -->\nold\n<!-- /clusters -->\nafter\n")
    results.write_page({FIRST: MADE}, page)
    text = page.read_text()
    assert text.startswith("before\n<!-- clusters -->\nOf ")
    assert text.endswith("|\n<!-- /clusters -->\nafter\n")
    page.write_text("none\n")
    with pytest.raises(ValueError, match="has no <!-- clusters --> and"):
        results.write_page({}, page)


def test_the_figure_has_a_line_for_each_model_and_format(tmp_path: Path) -> None:
    chips = (16, 256, 1024)
    found = {
        FIRST._replace(chips=n, model=model, storage=storage): MADE._replace(state=10**12 // n)
        for n in chips
        for model in ("7.5 B", "70 B")
        for storage in ("float32", "pair()")
    }
    found[FIRST._replace(way="update")] = MADE
    lines = results.curves(found, "v5p")
    assert [[n for n, _ in points] for points in lines.values()] == 4 * [list(chips)]
    drawn = tmp_path / "drawn.svg"
    results.draw(found, drawn)
    text = drawn.read_text()
    assert all(word in text for word in ("7.5 B parameters", "1,024", "pair()", "10 GB"))
    results.draw({}, tmp_path / "none.svg")
    assert not (tmp_path / "none.svg").exists()


def odd(pipe: Any) -> None:
    """Answer, crash and sleep, by the number of chips."""
    while (cell := pipe.recv()) is not None:
        if cell.chips == 256:
            os._exit(7)
        if cell.chips == 1024:
            time.sleep(600)
        pipe.send(MADE)


def test_a_compiler_that_crashes_or_takes_too_long_is_started_anew() -> None:
    compiler = clusters.Compiler(60.0, odd)
    try:
        crashed, made = (compiler.measure(FIRST._replace(chips=n)) for n in (256, 16))
        compiler.limit = 0.1
        slow = compiler.measure(FIRST._replace(chips=1024))
    finally:
        compiler.stop()
    assert crashed == Result(FAILED, "the compiler ended with 7")
    assert made == MADE
    assert slow == Result(SLOW, "over 0.1 s")


def test_outcomes_are_all_said() -> None:
    assert results.SAID.keys() == set(results.OUTCOMES)
    assert collections.Counter(results.HEAD).most_common(1)[0][1] == 1
