"""Judge what `lab.suggest` says by ten fresh seeds: `python -m benchmarks.suggestions`.

Each search has seeds of its own, for choosing and for its confirmation; what it suggests is trained
beside the default in whole runs with seeds 0 to 9, which no search has seen. A row says with how
many of these seeds the training loss at the end is lower, and shows losses and test accuracies as
suggestion / default. The last column is what the search took, in whole runs. A suggestion is right
if it keeps the default, or if median and mean of the loss over the fresh seeds are lower.

Of mnist and imdb, the data's place is needed: `--data mnist=DIR --data imdb=FILE`. `--epochs`
makes whole runs shorter, of which the table then speaks.
"""

import argparse
from typing import Any

import numpy as np

from adam_optax import lab
from adam_optax.lab.results import Setting

FRESH = range(10)
"""Seeds that no search has seen."""
SEEDS = 10
"""Seeds of a search's confirmation."""


def judged(
    problem: str, numbers: dict[str, float], default: dict[str, float], **options: Any
) -> list[Setting]:
    """Train a suggestion and the default with the fresh seeds."""
    return lab.sweep(problem, "adam", [numbers, default], FRESH, **options).settings


def row(found: Any, first: int, fresh: list[Setting] | None) -> tuple[list[str], bool]:
    """Return the cells of a row, and whether the suggestion is right."""
    cells = [found.problem.name, str(found.epochs), f"{first} to {first + SEEDS - 1}"]
    changed = [f"{n} {v:.3g}" for n, v in found.numbers.items() if v != found.default[n]]
    cost = f"{found.epochs_trained / found.epochs:.0f}"
    if fresh is None:
        return [*cells, "keep the default", "", "", "", "", cost], True
    losses = np.array([setting.losses for setting in fresh])
    lower = int((losses[0] < losses[1]).sum())
    medians, means = np.median(losses, 1), losses.mean(1)
    tests = [f"{100 * np.mean(setting.accuracies):.2f}" for setting in fresh]
    pairs = [f"{a:.3g} / {b:.3g}" for a, b in (medians, means)]
    cells += [", ".join(changed), f"{lower} of {len(FRESH)}", *pairs, " / ".join(tests), cost]
    return cells, bool(medians[0] < medians[1] and means[0] < means[1])


def pairs(words: list[str]) -> dict[str, str]:
    """Read words of the form NAME=VALUE."""
    return dict(word.split("=", 1) for word in words)


def main() -> None:
    """Search, judge and print a table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problems", nargs="*", default=["digits"])
    parser.add_argument("--searches", type=int, default=10)
    parser.add_argument("--data", action="append", default=[], metavar="NAME=PLACE")
    parser.add_argument("--epochs", action="append", default=[], metavar="NAME=N")
    given = parser.parse_args()
    places, epochs = pairs(given.data), pairs(given.epochs)
    print(
        "| problem | epochs | seeds | suggestion | lower | median loss | mean loss | test % "
        "| whole runs |\n|---|---|---|---|---|---|---|---|---|"
    )
    for problem in given.problems:
        known: dict[tuple[Any, ...], list[Setting]] = {}
        right = kept = 0
        options: dict[str, Any] = {"data_dir": places.get(problem)}
        if problem in epochs:
            options["epochs"] = int(epochs[problem])
        for search in range(1, given.searches + 1):
            first = 100 * search
            found = lab.suggest(problem, "adam", range(first, first + SEEDS), **options)
            numbers, default = dict(found.numbers), dict(found.default)
            key = tuple(numbers.items())
            if not found.keeps_default and key not in known:
                known[key] = judged(problem, numbers, default, **options)
            cells, good = row(found, first, known.get(key))
            right, kept = right + good, kept + found.keeps_default
            print("| " + " | ".join(cells) + " |", flush=True)
        print(
            f"\n{problem}: {right} of {given.searches} suggestions are right; {kept} keep the "
            "default\n",
            flush=True,
        )


if __name__ == "__main__":
    main()
