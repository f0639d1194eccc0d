"""Check that a run follows from problem, seed and optimiser alone, and what it records."""

import itertools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adam_optax.lab import Epoch, LabError, Optimizer, Problem, train
from adam_optax.lab.run import WINDOW, smooth, steps_to
from adam_optax.lab.task import Task
from adam_optax.lab.trainer import Trainer

SGD = Optimizer("sgd", optax.sgd)
ADAM = Optimizer("adam", lambda rate: optax.chain(optax.scale_by_rms(), optax.scale(-rate)))
FROZEN = Optimizer("frozen", lambda _: optax.set_to_zero())


@pytest.fixture(scope="module")
def task(tiny: Problem) -> Task:
    return Task(tiny)


def test_the_same_seed_gives_the_same_numbers(tiny: Problem) -> None:
    first, second, other = (train(tiny, SGD, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.losses, second.losses)
    assert first.train_loss == second.train_loss
    assert first.test_accuracy == second.test_accuracy
    assert (first.losses != other.losses).all()


@pytest.mark.heavy
def test_optimizers_start_alike_and_see_the_same_batches(task: Task) -> None:
    sgd, adam = (Trainer(task, optimizer).run(3) for optimizer in (SGD, ADAM))
    assert sgd.losses[0] == adam.losses[0]
    assert (sgd.losses[1:] != adam.losses[1:]).all()
    frozen = Trainer(task, FROZEN).run(3)
    x, y = task.train
    orders = np.concatenate(list(itertools.islice(task.orders(3), 3)))
    expected = [task.loss(task.params(3), x[batch], y[batch]) for batch in orders]
    np.testing.assert_allclose(frozen.losses, expected, rtol=1e-5)


def test_the_seed_decides_both_the_start_and_the_batches(task: Task) -> None:
    kernels = [task.params(seed)["params"]["Dense_0"]["kernel"] for seed in (0, 1)]
    assert (kernels[0] != kernels[1]).all()
    orders = [next(task.orders(seed)) for seed in (0, 1)]
    assert (orders[0] != orders[1]).any()


def test_an_epoch_takes_no_example_twice_and_shuffles_anew(task: Task) -> None:
    first, second = itertools.islice(task.orders(0), 2)
    for order in (first, second):
        assert order.shape == (4, 16)
        assert len(np.unique(order)) == order.size
        assert (order.min() >= 0) & (order.max() < 70)
    assert set(first.flat) != set(second.flat)  # the rest that is left out differs


def test_training_lowers_the_loss_and_what_is_recorded_agrees(task: Task) -> None:
    seen: list[Epoch] = []
    run = Trainer(task, ADAM, 0.05).run(0, 5, seen.append)
    assert run.losses.shape == (20,)
    assert run.train_loss[-1] < run.train_loss[0] < run.losses[0]
    assert run.train_loss == tuple(epoch.train_loss for epoch in seen)
    assert run.test_accuracy == seen[-1].test_accuracy
    assert run.steps_to_target == steps_to(task.problem.target_loss, run.losses)
    assert (run.learning_rate, run.diverged) == (0.05, False)


@pytest.mark.heavy
def test_loss_is_of_the_whole_training_set_and_accuracy_of_the_test_set(task: Task) -> None:
    run, params = Trainer(task, FROZEN).run(0, 1), task.params(0)
    assert run.train_loss[0] == pytest.approx(float(task.loss(params, *task.train)))
    x, y = task.test
    logits: Any = task.problem.model().apply(params, x)
    right = np.argmax(logits, -1) == np.asarray(y)
    assert run.test_accuracy == pytest.approx(right.mean())


def test_divergence_is_recorded_and_ends_the_run(task: Task) -> None:
    run = Trainer(task, SGD, 1e30).run(0, 3)
    assert run.diverged
    assert run.losses.shape == (4,)
    assert len(run.train_loss) == 1


def test_state_bytes_are_counted_to_the_last(task: Task) -> None:
    size = sum(leaf.size for leaf in jax.tree.leaves(task.params(0)))
    adam = Optimizer("adam", optax.adam)
    with jax.numpy_dtype_promotion("standard"):
        moments = Trainer(task, adam).run(0, 1).state_bytes_per_parameter
    assert moments == (2 * 4 * size + 4) / size
    assert Trainer(task, SGD).run(0, 1).state_bytes_per_parameter == 0


def test_one_compilation_serves_all_seeds(task: Task) -> None:
    traces = []

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        traces.append(1)
        return updates, state

    counted = optax.GradientTransformation(lambda _: optax.EmptyState(), update)
    trainer = Trainer(task, Optimizer("counted", lambda _: counted))
    trainer.run(0, 2)
    compiled = len(traces)
    for seed in range(1, 3):
        trainer.run(seed, 2)
    assert len(traces) == compiled > 0


def test_time_is_of_the_epochs_alone(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(task, SGD)
    ticks = iter([0, 4, 100, 108, 200, 204])  # between the pairs the epochs are evaluated
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    assert trainer.run(0, 3).seconds_per_step == 1  # the median of 4, 8 and 4 s for 4 steps


def test_the_default_rate_is_the_problems_times_the_optimizers(task: Task) -> None:
    assert Trainer(task, Optimizer("sgd", optax.sgd, rate=3)).learning_rate == pytest.approx(0.03)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 71}, "batch size must be 1 to 70, got 71"),
        ({"batch_size": 0}, "batch size must be 1 to 70, got 0"),
        ({"learning_rate": -1.0}, "learning rate must be positive, got -1.0"),
        ({"learning_rate": float("nan")}, "learning rate must be positive, got nan"),
        ({"seed": -1}, "seed must be 0 to 2147483647, got -1"),
        ({"seed": 2**31}, "seed must be 0 to"),
    ],
)
def test_numbers_out_of_range_are_refused(
    tiny: Problem, numbers: dict[str, Any], message: str
) -> None:
    with pytest.raises(LabError, match=message):
        train(tiny, SGD, **numbers)


@given(st.lists(st.floats(0, 100, width=32), min_size=1, max_size=3 * WINDOW))
def test_smoothing_is_the_mean_of_whole_windows(losses: list[float]) -> None:
    window = min(WINDOW, len(losses))
    expected = [np.mean(losses[i - window : i]) for i in range(window, len(losses) + 1)]
    np.testing.assert_allclose(smooth(np.asarray(losses, np.float32)), expected, atol=1e-9)


@pytest.mark.quick
def test_smoothing_bends_no_straight_line() -> None:
    """A window that grew from one loss on would bend the curve where the window is full."""
    falling = np.linspace(3, 1, 4 * WINDOW, dtype=np.float32)
    # float32 rounds a loss by 1e-7, which is 1e-5 of the slope
    np.testing.assert_allclose(np.diff(smooth(falling)), np.diff(falling).mean(), rtol=1e-4)


def test_steps_to_the_target_count_from_the_first_whole_window() -> None:
    losses = np.repeat(np.array([3, 1], np.float32), WINDOW)
    half = WINDOW + WINDOW // 2
    assert [steps_to(x, losses) for x in (3, 2, 1, 0.9)] == [WINDOW, half, 2 * WINDOW, None]
    assert steps_to(2, np.array([3, 1, 0.5], np.float32)) == 3  # a run shorter than the window
    assert steps_to(1, np.array([np.nan, 5], np.float32)) is None


def test_a_run_keeps_the_test_accuracy_of_every_epoch(tiny: Problem) -> None:
    seen: list[float] = []
    run = train(tiny, SGD, on_epoch=lambda epoch: seen.append(epoch.test_accuracy))
    assert run.test_accuracies == tuple(seen)
    assert len(seen) == tiny.epochs


def test_what_optax_promotes_runs_under_strict_promotion(tiny: Problem) -> None:
    with pytest.raises(Exception, match="promotion"):
        optax.tree.bias_correction(jnp.ones(2), 0.9, jnp.zeros([], jnp.int32))
    assert not train(tiny, "optax.adam", epochs=1).diverged
