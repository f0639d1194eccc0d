"""Check that a suggestion holds on seeds that had no part in it, or keeps the default."""

import itertools
import math
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from adam_optax.lab import LabError, Optimizer, Problem, sweep
from adam_optax.lab import search as search_module
from adam_optax.lab.grid import Job
from adam_optax.lab.halving import rungs
from adam_optax.lab.optimizers import default_numbers, resolve
from adam_optax.lab.paired import Paired
from adam_optax.lab.results import Point, Setting
from adam_optax.lab.search import Search, choosing_seeds
from adam_optax.lab.suggestion import suggest
from adam_optax.lab.tuning import FACTORS

Loss = Callable[[dict[str, float], int], float]
"""Maps hyper-parameters and a seed to the loss at the end of a run."""
DEFAULT = {"learning_rate": 1e-2, "b1": 0.9, "b2": 0.999, "eps": 1e-8}


def noise(numbers: dict[str, float], seed: int) -> float:
    """Return a loss that depends on nothing but luck."""
    key = zlib.crc32(repr((sorted(numbers.items()), seed)).encode())
    return math.exp(0.5 * np.random.default_rng(key).standard_normal())


def search(problem: Problem, loss: Loss, seeds: Sequence[int], **options: Any) -> Search:
    """Build a search whose runs are made up: they take no time, and have a loss that is given."""

    def train(todo: Sequence[Job], epochs: int, on_run: Callable[[int], object]) -> list[Point]:
        points = []
        for job in todo:
            numbers = dict(job.numbers)
            losses = np.full(8, loss(numbers, job.seed), np.float32)
            points.append(Point("adam", numbers, job.seed, losses, losses[-1:], 0.9))
            on_run(len(points))
        return points

    return Search(problem, resolve("adam"), seeds, 8, train, **options)


def confirmations(problem: Problem, loss: Loss, count: int) -> list[Paired]:
    """Run `count` searches with seeds of their own, and return their confirmations."""
    found = (search(problem, loss, range(n, n + 10)).run()[1] for n in range(0, 100 * count, 100))
    return [confirmation.paired for confirmation in found if confirmation is not None]


def mean_gain_of_luck(problem: Problem) -> float:
    """Return the mean gain of many confirmations, where there is no gain to be found."""
    return float(np.mean([pair.gains.mean() for pair in confirmations(problem, noise, 40)]))


@pytest.mark.quick
def test_no_seed_of_the_choice_is_one_of_the_confirmation(tiny: Problem) -> None:
    seeds = range(3, 13)
    stages, confirmation = search(tiny, lambda n, s: noise(n, s) / n["learning_rate"], seeds).run()
    chosen = {p.seed for stage in stages for sweep in stage.rounds for p in sweep.points}
    assert confirmation is not None
    assert {point.seed for point in confirmation.sweep.points} == set(seeds)
    assert not chosen & set(seeds)


SIGMA = 0.035
"""Deviation of the mean gain of forty searches: of gains of 0.5 * sqrt(2), over ten seeds each."""


def test_luck_is_not_suggested(tiny: Problem) -> None:
    found = confirmations(tiny, noise, 40)
    assert len(found) > 20  # it is chosen: one of many settings always is the luckiest
    # Luck passes the sign test of ten seeds in 11 of 1,024 searches.
    assert sum(pair.is_better for pair in found) <= 2
    # It is no gain with other seeds. A confirmation that ends early has a lower mean on average.
    assert -6 * SIGMA < mean_gain_of_luck(tiny) < 3 * SIGMA


def test_choosing_on_the_seeds_of_the_confirmation_would_be_seen(
    tiny: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Show that the test above can fail: luck in the choice would be luck in the confirmation."""
    monkeypatch.setattr(search_module, "choosing_seeds", lambda seeds: list(seeds[:6]))
    assert mean_gain_of_luck(tiny) > 4 * SIGMA


def test_a_gain_is_found(tiny: Problem) -> None:
    def loss(numbers: dict[str, float], seed: int) -> float:
        distance = abs(math.log(numbers["learning_rate"] / 3e-2))
        return math.exp(distance + 0.3 * math.log(noise(numbers, seed)))

    found = [pair.is_better for pair in confirmations(tiny, loss, 10)]
    assert found == [True] * 10  # the loss is three times lower at the best rate


def test_a_gamble_is_not_suggested(tiny: Problem) -> None:
    """Show that rare bad runs outweigh many good ones, as with digits at a rate of 0.0562."""

    def loss(numbers: dict[str, float], seed: int) -> float:
        luck = math.exp(0.1 * math.log(noise(numbers, seed)))
        if numbers["learning_rate"] == 1e-2:
            return luck
        good = seed >= 2**30 or seed % 5  # for the choice always, and else four times of five
        return luck * (0.1 if good else 20)

    found = confirmations(tiny, loss, 10)
    assert len(found) == 10
    assert not any(pair.is_better for pair in found)


def setting(losses: Iterable[float], accuracies: Sequence[float] | None = None) -> Setting:
    """Build the runs of a setting."""
    found = tuple(losses)
    return Setting("adam", DEFAULT, found, tuple(accuracies or [0.9] * len(found)))


ONES = [1.0, 1.1, 0.9, 1.05, 0.95, 1.0, 1.1, 0.9, 1.05, 0.95]
HALF = [x / 2 for x in ONES]


@pytest.mark.quick
@pytest.mark.parametrize(
    ("losses", "accuracies", "says"),
    [
        (HALF, None, "better: a lower training loss with 10 of 10 seeds, 0.5 times"),
        ([2.0, *HALF[1:]], None, "better: a lower training loss with 9 of 10 seeds"),
        ([2.0, 2.0, *HALF[2:]], None, "cannot tell: a lower training loss with 8 of 10 seeds"),
        ([9.0, *HALF[1:]], None, "lower in most runs, but not on average"),
        ([np.inf, *HALF[1:]], None, "with 9 of 10 seeds, it diverged with 1"),
        (HALF, [0.89] * 10, "a lower training loss, bought by test accuracy"),
        ([2 * x for x in ONES], None, "no gain: a lower training loss with 0 of 10 seeds"),
        (ONES, None, "no gain: a lower training loss with 0 of 10 seeds, 1 times"),
        (HALF[:1], None, "better or not"),
    ],
    ids=["all", "nine", "eight", "gamble", "diverged", "overfit", "worse", "same", "one seed"],
)
def test_a_verdict_says_what_runs_show(
    losses: list[float], accuracies: list[float] | None, says: str
) -> None:
    pair = Paired(setting(ONES[: len(losses)]), setting(losses, accuracies), len(losses))
    if says == "better or not":
        assert not pair.is_better
        return
    assert says in pair.verdict()
    assert pair.is_better == says.startswith("better")


def test_any_run_is_better_than_runs_that_diverge() -> None:
    """Show that no mean is needed where nearly every run of the default diverged."""
    for sound in (0, 1, 2):
        default = setting([*ONES[:sound], *[np.inf] * (10 - sound)])
        pair = Paired(default, setting(HALF), 10)
        assert pair.is_better, pair.verdict()
        assert f"the default diverged with {10 - sound}" in pair.verdict()
        other = Paired(setting(HALF), default, 10)
        assert not other.is_better
        assert other.verdict().startswith("no gain")


@pytest.mark.quick
def test_the_intervals_are_those_of_scipy() -> None:
    scipy_stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    pair = Paired(setting(rng.random(12)), setting(rng.random(12)), 12)
    t = scipy_stats.ttest_1samp(pair.gains, 0).confidence_interval(0.95)
    np.testing.assert_allclose(pair.mean_gain, t, rtol=1e-12)  # rounding of float64
    median = scipy_stats.quantile_test(pair.gains, q=0, p=0.5).confidence_interval(0.95)
    assert pair.median_gain == tuple(median)


def test_what_it_would_cost_to_know_is_enough(tiny: Problem) -> None:
    rng = np.random.default_rng(0)
    gains = rng.normal(0.3, 0.6, 10)
    pair = Paired(setting([1.0] * 10), setting(np.exp(-gains)), 10)
    assert not pair.is_better
    said = pair.cost_to_know(30)
    seeds = int(said.split()[5])
    assert f"about {seeds} seeds, {2 * seeds} runs of 30 epochs" in said
    bootstrap = (rng.choice(gains, seeds) for _ in range(200))
    shown = [Paired(setting([1.0] * seeds), setting(np.exp(-g)), seeds) for g in bootstrap]
    # four times of five, as it says; three deviations of 200 tries are 8 %
    assert np.mean([one.is_better for one in shown]) > 0.7
    worse = Paired(setting(ONES), setting([2 * x for x in ONES]), 10)
    assert "nothing in these runs speaks for the change" in worse.cost_to_know(30)


def test_a_confirmation_ends_once_it_cannot_succeed(tiny: Problem) -> None:
    def loss(numbers: dict[str, float], seed: int) -> float:
        bad = seed < 2**30 and numbers["learning_rate"] != 1e-2
        return noise(numbers, seed) * (2 if bad else numbers["learning_rate"] ** -1 / 100)

    _, confirmation = search(tiny, loss, range(10)).run()
    assert confirmation is not None
    assert confirmation.paired.seeds == 5
    assert "5 seeds (10 were planned)" in confirmation.paired.verdict()


def test_choosing_seeds_do_not_follow_the_number_of_seeds() -> None:
    few, many = choosing_seeds(range(5, 11)), choosing_seeds(range(5, 100))
    assert few == many == [2**30 + 5 + place for place in range(6)]
    last = range(2**31 - 6, 2**31)
    both = [0, 2**30, 2**30 + 2]
    for seeds in (last, both):
        found = choosing_seeds(seeds)
        assert len(set(found)) == 6
        assert not set(found) & set(seeds)
        assert all(0 <= seed < 2**31 for seed in found)


def test_the_budget_is_said_before_and_kept(tiny: Problem) -> None:
    notes: list[str] = []
    done: list[tuple[int, int]] = []
    found = search(
        tiny,
        lambda n, s: noise(n, s) / n["learning_rate"],
        range(10),
        on_note=notes.append,
        on_progress=lambda *now: done.append(now),
    )
    assert not notes
    _, confirmation = found.run()
    assert notes[0] == "budget: at most 608 epochs, as much as 76 whole runs"
    assert notes[1] == (
        "  learning rate: 13 settings x 1 seed x 2 epochs, then 5 settings x 2 seeds x 4 epochs, "
        "then 3 settings x 6 seeds x 8 epochs"
    )
    assert [note.strip().split(":")[0] for note in notes[2:6]] == [
        "b1, b2",
        "eps",
        "confirming",
        "watching",
    ]
    assert all("left" in note for note in notes[6:])
    assert len(notes) == 9
    assert all(a < b for (a, _), (b, _) in itertools.pairwise(done))
    assert {planned for _, planned in done} == {608}
    assert confirmation is not None
    assert found.runs.epochs == 608 - 8  # all but the watched run: nothing is trained twice


def test_what_is_not_needed_is_planned_no_longer(tiny: Problem) -> None:
    """Show that the plan has no confirmation once the default was chosen, nor half of one."""
    notes: list[str] = []
    kept = search(tiny, lambda n, s: n["learning_rate"] + 1 / n["learning_rate"] / 1e4, range(10))
    kept.run()
    assert kept.runs.planned == kept.runs.epochs + 8 < 608 - 100

    def gamble(numbers: dict[str, float], seed: int) -> float:
        return 2.0 if (seed < 2**30) == (numbers["learning_rate"] != 1e-2) else 1.0

    half = search(tiny, gamble, range(10), on_note=notes.append)
    half.run()
    assert half.runs.planned == half.runs.epochs + 8 == 608 - 10 * 8
    assert notes[-1].endswith("at most 168 epochs, as much as 21 whole runs left")


def test_a_search_says_what_its_runs_are_for(tiny: Problem) -> None:
    said: list[str] = []
    search(tiny, noise, range(10), on_round=said.append).run()
    stages = ("learning rate", "b1, b2", "eps")
    rounds = [f"{stage}, round {number} of 3" for stage in stages for number in (1, 2, 3)]
    assert said[:9] == rounds
    assert set(said[9:]) == {"confirmation"}


def test_runs_of_one_epoch_are_not_made_twice(tiny: Problem) -> None:
    made: list[tuple[Any, int, int]] = []

    def train(todo: Sequence[Job], epochs: int, on_run: Callable[[int], object]) -> list[Point]:
        del on_run
        made.extend((job.numbers, job.seed, epochs) for job in todo)
        one = np.ones(1, np.float32)
        return [Point("adam", dict(job.numbers), job.seed, one, one, 0.5) for job in todo]

    found = Search(tiny, resolve("adam"), range(10), 1, train)
    found.run()
    assert len(made) == len(set(made)) < found.budget.epochs


def test_an_optimiser_is_asked_for_what_it_has(tiny: Problem) -> None:
    mine = Optimizer("mine", lambda rate, eps=0.5: resolve("adam").build(rate, eps=eps))
    for optimizer, expected in (
        (resolve("adam"), {"b1": 0.9, "b2": 0.999, "eps": 1e-8}),
        (resolve("yogi"), {"b1": 0.9, "b2": 0.999, "eps": 1e-3}),
        (resolve("lion"), {"b1": 0.9, "b2": 0.99}),
        (resolve("optax.sgd"), {}),
        (mine, {"eps": 0.5}),
    ):
        assert default_numbers(optimizer, ["b1", "b2", "eps"]) == expected
        todo = Search(tiny, optimizer, range(10), 8, lambda *_: [])
        assert todo.default == {"learning_rate": optimizer.rate * 1e-2, **expected}
        rates = len(FACTORS)
        assert todo.budget.expenses[0].settings == rates


def test_a_search_whose_every_run_diverges_is_refused(tiny: Problem) -> None:
    with pytest.raises(LabError, match="every run of 8 epochs diverged"):
        search(tiny, lambda n, s: np.inf, range(10)).run()


@pytest.mark.quick
@pytest.mark.parametrize("seeds", [[0], range(5)], ids=len)
def test_too_few_seeds_are_refused_before_the_training(tiny: Problem, seeds: Sequence[int]) -> None:
    with pytest.raises(LabError, match=f"needs at least 6 seeds, got {len(seeds)}: with fewer"):
        suggest(tiny, "adam", seeds)


@pytest.mark.quick
def test_whole_runs_have_the_last_word() -> None:
    assert [(r.epochs, r.seeds) for r in rungs(30)] == [(8, 1), (15, 2), (30, 6)]
    assert [r.epochs for r in rungs(3)] == [1, 2, 3]
    assert [r.epochs for r in rungs(1)] == [1, 1, 1]


@pytest.mark.heavy
def test_a_suggestion_is_better_than_a_bad_default(tiny: Problem) -> None:
    bad = replace(tiny, learning_rate=1e-4, epochs=4)
    found = suggest(bad, "adam", range(6))
    assert found.numbers["learning_rate"] == pytest.approx(3.16e-3)  # the highest that is tried
    assert "at whose edge it is" in found.stages[0].reason
    assert [stage.asks for stage in found.stages] == [("learning_rate",), ("b1", "b2"), ("eps",)]
    default, better = sweep(
        bad, "adam", [dict(found.default), dict(found.numbers)], [50, 51]
    ).settings
    assert better.loss < default.loss
    assert len(found.rows()) == sum(len(r.points) for s in found.stages for r in s.rounds) + 12


@pytest.mark.heavy
@pytest.mark.parametrize("optimizer", ["lion", "optax.sgd"])
def test_an_optimiser_without_epsilon_or_betas_is_tuned(tiny: Problem, optimizer: str) -> None:
    found = suggest(tiny, optimizer, range(6), epochs=1)
    assert list(found.numbers) == ["learning_rate", *(["b1", "b2"] if optimizer == "lion" else [])]
    assert "which says nothing of the problem's own 3" in found.evidence()[0]
    assert not any("eps" in said for said in found.evidence())


@pytest.mark.heavy
def test_a_killed_search_goes_on(tiny: Problem, tmp_path: Any) -> None:
    class StopError(Exception):
        pass

    def stop(done: int, planned: int) -> None:
        if done > planned // 2:
            raise StopError

    parts = tmp_path / "parts"
    with pytest.raises(StopError):
        suggest(tiny, "adam", range(6), parts=parts, on_progress=stop)
    before = {path: path.stat().st_mtime_ns for path in parts.iterdir()}
    assert len(before) > 50
    resumed = suggest(tiny, "adam", range(6), parts=parts)
    assert resumed.rows() == suggest(tiny, "adam", range(6)).rows()
    assert {path: path.stat().st_mtime_ns for path in before} == before  # none is made again
    assert len(list(parts.iterdir())) > len(before)


@pytest.mark.heavy
def test_digits_are_not_made_worse() -> None:
    """Hold what a suggestion promises on ten seeds that are neither of the choice nor confirmed."""
    found = suggest("digits", "adam", range(100, 110))
    assert found.epochs == 30
    if found.keeps_default:
        return
    default, changed = sweep(
        "digits", "adam", [dict(found.default), dict(found.numbers)], range(10)
    ).settings
    lower = sum(a > b for a, b in zip(default.losses, changed.losses, strict=True))
    assert lower >= 8
    assert np.median(changed.losses) < np.median(default.losses)
    assert changed.loss < default.loss
