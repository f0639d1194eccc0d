"""Check that a run that was stopped goes on to the numbers of one that was not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adam_optax.lab import Comparison, Epoch, Optimizer, Problem, Run, compare, observe, train
from adam_optax.lab.errors import Interrupted
from adam_optax.lab.resume import Checkpoints
from adam_optax.lab.storage_formats import with_storage
from adam_optax.lab.task import Task
from adam_optax.lab.trainer import Trainer


def stopping(after: int) -> Any:
    """Press Ctrl-C after so many calls."""
    calls = []

    def stop(*_: object) -> None:
        calls.append(1)
        if len(calls) >= after:
            raise KeyboardInterrupt

    return stop


def same(one: Run, other: Run) -> None:
    np.testing.assert_array_equal(one.losses, other.losses)
    assert (one.train_loss, one.test_accuracy) == (other.train_loss, other.test_accuracy)
    assert one.steps_to_target == other.steps_to_target


@pytest.mark.quick
def test_a_stopped_run_says_what_it_has_and_goes_on(tiny: Problem, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt) as stopped:
        train(tiny, "adam", 3, epochs=5, parts=tmp_path, on_epoch=stopping(2))
    assert isinstance(stopped.value, Interrupted)
    partial = stopped.value.partial
    assert len(partial.train_loss) == 2
    seen: list[Epoch] = []
    found = train(tiny, "adam", 3, epochs=5, parts=tmp_path, on_epoch=seen.append)
    assert [epoch.epoch for epoch in seen] == [3, 4, 5]
    whole = train(tiny, "adam", 3, epochs=5)
    same(found, whole)
    np.testing.assert_array_equal(partial.losses, whole.losses[: len(partial.losses)])


@pytest.mark.parametrize(
    "storage",
    [
        "pair",
        *(
            pytest.param(name, marks=pytest.mark.heavy)
            for name in ("stochastic", "float8", "int8", "int4", "factored")
        ),
    ],
)
def test_states_of_every_format_are_kept(tiny: Problem, tmp_path: Path, storage: str) -> None:
    name = "rmsprop" if storage == "factored" else "adam"  # factors of what is never negative
    task, optimizer = Task(tiny), with_storage(name, storage)
    whole = Trainer(task, optimizer)
    expected = whole.run(0, 4)
    with pytest.raises(Interrupted):
        Trainer(task, optimizer, parts=tmp_path).run(0, 4, stopping(3))
    trainer = Trainer(task, optimizer, parts=tmp_path)
    same(trainer.run(0, 4), expected)
    for one, other in zip(_leaves(trainer.latest), _leaves(whole.latest), strict=True):
        np.testing.assert_array_equal(one, other)


def _leaves(tree: Any) -> list[Any]:
    import jax

    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def test_what_is_finished_is_not_trained_again(
    tiny: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = train(tiny, "adam", epochs=2, parts=tmp_path)
    monkeypatch.setattr(Trainer, "_epochs", lambda *_: pytest.fail("it is trained again"))
    same(train(tiny, "adam", epochs=2, parts=tmp_path), expected)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"learning_rate": 0.02}, marks=pytest.mark.quick, id="rate"),
        *(
            pytest.param(how, marks=pytest.mark.heavy)
            for how in ({"seed": 1}, {"epochs": 4}, {"batch_size": 8}, {"optimizer": "lion"})
        ),
    ],
)
def test_checkpoints_of_other_runs_are_not_taken(
    tiny: Problem, tmp_path: Path, other: dict[str, Any]
) -> None:
    how: dict[str, Any] = {"optimizer": "adam", "epochs": 3}
    with pytest.raises(Interrupted):
        train(tiny, **how, parts=tmp_path, on_epoch=stopping(1))
    with pytest.raises(Interrupted) as stopped:
        train(tiny, **{**how, **other}, parts=tmp_path, on_epoch=stopping(1))
    assert len(stopped.value.partial.train_loss) == 1  # and not the second


def test_a_damaged_checkpoint_is_as_good_as_none(tiny: Problem, tmp_path: Path) -> None:
    task = Task(tiny)
    kept = Checkpoints(tmp_path, task, ["adam"])
    epoch = Epoch("adam", 0, 1, 2, np.ones(4, np.float32), 0.1, 0.5, 0.6)
    tree = {"w": np.ones((3, 2), np.float32)}
    kept.save([epoch], tree, now=True)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    found = kept.load(tree)
    assert found is not None
    assert [one.train_loss for one in found[0]] == [0.5]
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert kept.load(tree) is None
    path.write_bytes(content)
    assert kept.load({"w": np.ones((2, 3), np.float32)}) is None


def test_checkpoints_take_a_tenth_of_the_time(
    tiny: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    written = []

    def write(path: Path, content: bytes) -> None:
        now[0] += 2
        written.append(now[0])

    monkeypatch.setattr("adam_optax.lab.resume.write_file", write)
    kept = Checkpoints(tmp_path, Task(tiny), [])
    for _ in range(100):
        now[0] += 1
        kept.save([], {})
    assert len(written) == 5  # each took 2 s, and 20 s pass from one to the next


@pytest.mark.heavy
def test_a_watched_run_goes_on_with_its_records(tiny: Problem, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt) as stopped:
        observe(tiny, "adam", epochs=4, parts=tmp_path, on_epoch=stopping(2))
    assert isinstance(stopped.value, Interrupted)
    assert {row[0] for row in stopped.value.partial.rows} == set(range(1, 9))
    found, whole = (observe(tiny, "adam", epochs=4, parts=p) for p in (tmp_path, None))
    same(found.run, whole.run)
    np.testing.assert_array_equal(found.rows, whole.rows)


def test_a_stopped_comparison_goes_on(tiny: Problem, tmp_path: Path) -> None:
    how: dict[str, Any] = {"seeds": [0, 1], "epochs": 2, "parts": tmp_path}
    first = compare(tiny, ["optax.sgd"], **how, on_progress=stopping(3))
    assert (len(first.runs), first.interrupted) == (1, True)
    assert first.unfinished is not None
    assert len(first.unfinished.train_loss) == 1
    found: Comparison = compare(tiny, ["optax.sgd"], **how)
    whole = compare(tiny, ["optax.sgd"], [0, 1], epochs=2)
    for one, other in zip(found.runs, whole.runs, strict=True):
        same(one, other)


def test_an_optimiser_all_of_whose_rates_diverge_is_compared_at_the_lowest(tiny: Problem) -> None:
    hopeless = Optimizer("hopeless", lambda rate: with_storage("sgd", None).build(1e30))
    found = compare(tiny, [hopeless], [0], epochs=1, tune=[0.1, 0.01])
    assert [(run.diverged, run.learning_rate) for run in found.runs] == [(True, 0.01)]
