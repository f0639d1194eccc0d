"""Check that a sweep equals its settings run alone, compiles once, and can be resumed."""

import random
from pathlib import Path
from typing import Any

import chex
import numpy as np
import pytest

import adam_optax as ao
from adam_optax.lab import LabError, Optimizer, Problem, Sweep, sweep, train
from adam_optax.lab.grid import Job, jobs
from adam_optax.lab.optimizers import resolve
from adam_optax.lab.program import Program
from adam_optax.lab.resume import FinishedParts
from adam_optax.lab.sweeper import Sweeper
from adam_optax.lab.task import Task

GRID = {"learning_rate": [1e-2, 1e-1], "b1": [0.5, 0.9]}


def fading(rate: Any, fade: Any = 1.0) -> Any:
    """Build Adam with a schedule whose parameter is swept."""
    return ao.adam(lambda count: rate * fade ** count.astype("float32"))


@pytest.mark.heavy
def test_every_run_is_what_it_is_alone_and_all_are_compiled_once(
    tiny: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = chex.assert_max_traces(Program._train, n=1)
    monkeypatch.setattr(Program, "_train", once)
    found = sweep(tiny, "adam", GRID, [3, 5], epochs=2)
    assert [(p.numbers["learning_rate"], p.numbers["b1"], p.seed) for p in found.points] == [
        (rate, b1, seed) for rate in (1e-2, 1e-1) for b1 in (0.5, 0.9) for seed in (3, 5)
    ]
    for point in found.points[2:4]:  # b1 as by default
        alone = train(tiny, "adam", point.seed, learning_rate=1e-2, epochs=2)
        # 1 - b is rounded in a traced b: 1.3e-5 of nu, and as much as that of a step
        np.testing.assert_allclose(point.losses, alone.losses, rtol=1e-4)
        np.testing.assert_allclose(point.train_loss, alone.train_loss, rtol=1e-4)
        assert point.test_accuracy == pytest.approx(alone.test_accuracy)


def same(one: Sweep, other: Sweep) -> None:
    assert one.rows() == other.rows()
    for a, b in zip(one.points, other.points, strict=True):
        np.testing.assert_array_equal(a.losses, b.losses)


@pytest.mark.heavy
def test_a_setting_by_itself_is_the_same_to_the_last_bit(tiny: Problem) -> None:
    many = sweep(tiny, "adam", GRID, [3], epochs=2)
    one = sweep(tiny, "adam", [{"learning_rate": 1e-1, "b1": 0.5}], [3], epochs=2)
    assert one.rows() == many.rows()[2:3]


@pytest.mark.heavy
def test_vmapped_runs_are_those_in_turn(tiny: Problem) -> None:
    in_turn = sweep(tiny, "adam", GRID, [3], epochs=2)
    vmapped = sweep(tiny, "adam", GRID, [3], epochs=2, parallel=3)  # the last part is not full
    assert len(vmapped.points) == 4
    for a, b in zip(in_turn.points, vmapped.points, strict=True):
        np.testing.assert_allclose(a.losses, b.losses, rtol=1e-5)  # sums in another order


@pytest.mark.heavy
@pytest.mark.parametrize("parallel", [None, 2])
def test_variants_of_equal_states_are_swept_together(tiny: Problem, parallel: int | None) -> None:
    found = sweep(tiny, ["adam", "yogi"], {"b2": [0.9, 0.99]}, [0], epochs=1, parallel=parallel)
    assert [p.optimizer for p in found.points] == ["adam", "adam", "yogi", "yogi"]
    for i, name in ((1, "adam"), (3, "yogi")):
        alone = sweep(tiny, name, [{"b2": 0.99}], [0], epochs=1)
        np.testing.assert_allclose(found.points[i].losses, alone.points[0].losses, rtol=1e-5)
    assert found.best("yogi").optimizer == "yogi"


@pytest.mark.heavy
def test_a_schedule_of_the_users_own_is_given_its_numbers(tiny: Problem) -> None:
    own = Optimizer("fading", fading)
    found = sweep(tiny, own, {"fade": [0.0, 1.0]}, [0], epochs=2)
    alone = sweep(tiny, "adam", [{"learning_rate": 1e-2}], [0], epochs=2)
    np.testing.assert_allclose(found.points[1].losses, alone.points[0].losses, rtol=1e-4)
    assert found.points[0].final_loss > found.points[1].final_loss


def stopping(after: int) -> Any:
    def stop(done: int, _: int) -> None:
        if done >= after:
            raise KeyboardInterrupt

    return stop


@pytest.mark.heavy
def test_a_killed_sweep_goes_on_where_it_was(
    tiny: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how: dict[str, Any] = {"seeds": [0], "epochs": 1, "parts": tmp_path / "parts"}
    first = sweep(tiny, "adam", GRID, **how, on_progress=stopping(2))
    assert (len(first.points), first.planned, first.interrupted) == (2, 4, True)
    kept = sorted((tmp_path / "parts").iterdir())
    assert len(kept) == 2
    kept[0].write_bytes(b"half of a file")  # is trained again
    seen: list[int] = []
    train_part = sweep.__globals__["Sweeper"]._trained

    def counted(self: Any, part: Any) -> Any:
        seen.append(len(part))
        return train_part(self, part)

    monkeypatch.setattr(sweep.__globals__["Sweeper"], "_trained", counted)
    again = sweep(tiny, "adam", GRID, **how)
    assert seen == [1, 1, 1]
    same(again, sweep(tiny, "adam", GRID, [0], epochs=1))
    assert len(list((tmp_path / "parts").iterdir())) == 4  # which are the caller's to remove


def test_a_damaged_part_is_whole_or_trained_again(tiny: Problem, tmp_path: Path) -> None:
    """Check mutants of a part's file: 60 of 4,000 raised zipfile's errors, and shapes were free."""
    task = Task(tiny)
    parts = FinishedParts(tmp_path, task, ["adam"], 2, 2)
    todo = [Job(0, (("learning_rate", 0.1),), seed) for seed in (0, 1)]
    steps = 2 * task.steps_per_epoch
    arrays = tuple(np.ones(shape, np.float32) for shape in ((2, steps), (2, 2), (2,)))
    parts.save(todo, arrays)
    (path,) = tmp_path.iterdir()
    content, rng = path.read_bytes(), random.Random(0)
    for _ in range(500):
        mutant = bytearray(content)
        for _ in range(rng.choice([1, 1, 8])):
            mutant[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(mutant)
        if (found := parts.load(todo)) is not None:
            chex.assert_trees_all_equal(found, arrays)
    for other in ((1, steps), (2, steps + 1)):
        losses = np.ones(other, np.float32)
        np.savez(path, losses=losses, train_loss=arrays[1], test_accuracy=arrays[2])
        assert parts.load(todo) is None


def test_parts_of_another_sweep_are_not_taken(tiny: Problem, tmp_path: Path) -> None:
    how: dict[str, Any] = {"parts": tmp_path, "on_progress": stopping(1)}
    sweep(tiny, "adam", GRID, [0], epochs=1, **how)
    longer = sweep(tiny, "adam", GRID, [0], epochs=2, **how)
    assert len(longer.points[0].train_loss) == 2
    task, adam = Task(tiny), [resolve("adam")]  # as a search measures, after the last epoch only
    search = Sweeper(task, adam, 1, 2, tmp_path, every_epoch=False)
    found = search.run(jobs(task.problem, adam, GRID, [0]), stopping(1))
    assert len(found.points[0].train_loss) == 1


@pytest.mark.quick
def test_what_diverged_is_said_and_never_the_best(tiny: Problem) -> None:
    found = sweep(tiny, "optax.sgd", {"learning_rate": [1e-2, 1e30]}, [0, 1], epochs=1)
    assert [row["diverged"] for row in found.rows()] == [False, False, True, True]
    assert found.rows()[2]["final_loss"] == np.inf
    best = found.best()
    assert best.numbers["learning_rate"] == 1e-2
    assert best.loss == np.mean([row["final_loss"] for row in found.rows()[:2]])
    with pytest.raises(LabError, match="every run diverged; try lower learning rates"):
        Sweep(tiny, found.points[2:], 2).best()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"settings": {}}, "every setting must give the same hyper-parameters"),
        ({"settings": []}, "every setting must give the same hyper-parameters"),
        ({"settings": [{"b1": 0.9}, {"b2": 0.9}]}, "every setting must give the same"),
        ({"settings": {"b1": 0.9}}, "b1 must be a list of numbers, not 0.9"),
        ({"settings": {"b1": []}}, r"b1 must be a list of numbers, not \[\]"),
        ({"settings": {"b1": ["a"]}}, "b1 must be a finite number, not 'a'"),
        ({"settings": {"learning_rate": [0.0]}}, "learning_rate must be positive, not 0.0"),
        ({"settings": {"b3": [0.9]}}, "adam with learning_rate, b3: .*b3"),
        ({"optimizers": ["adam", "lion"]}, "adam and lion differ in shape; give them a sweep each"),
        ({"seeds": [1, 1]}, "seeds must be different numbers"),
        ({"parallel": 0}, "parallel must be at least 1, got 0"),
        ({"seeds": range(10**9)}, "1000000000 runs .* are too many; make at most 100000"),
        (
            {"settings": {"b1": [0.5] * 999, "b2": [0.5] * 999}},
            "settings 998001, seeds 3. are too many",
        ),
        ({"epochs": 2**31 - 1}, "need .* GiB of memory; make fewer epochs"),
        ({"epochs": 0}, "epochs must be at least 1"),
    ],
)
def test_what_makes_no_sweep_is_refused(
    tiny: Problem, arguments: dict[str, Any], message: str
) -> None:
    given = {"optimizers": "adam", "settings": {"b1": [0.9]}, **arguments}
    with pytest.raises(LabError, match=message):
        sweep(tiny, **given)
