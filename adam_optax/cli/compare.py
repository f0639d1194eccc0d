"""Run the commands `adam-optax compare` and `adam-optax train`."""

import dataclasses
from collections.abc import Sequence

from adam_optax.cli.commands import Arguments, Command, option
from adam_optax.cli.console import (
    DIVERGED,
    announce_code,
    check_lab_extra,
    fail,
    interrupted,
    say,
    say_written,
    show,
)
from adam_optax.cli.options import (
    TRAINING_DETAILS,
    executor_options,
    optimizer_option,
    result_options,
    seed_option,
    seeds_options,
    training_epilog,
    training_options,
)
from adam_optax.cli.progress import Shown, progress
from adam_optax.cli.run_folder import RunFolder, run_folder
from adam_optax.cli.workers import sent, stages, workers
from adam_optax.lab import Comparison, Epoch, Optimizer, Problem, compare
from adam_optax.lab._problems.builtin import find_problem
from adam_optax.lab.errors import LabError
from adam_optax.lab.optimizers import DEFAULT_OPTIMIZERS, resolve_all
from adam_optax.lab.reports import comparison as report
from adam_optax.lab.storage_formats import file_name, with_storage, with_storage_where_taken
from adam_optax.lab.tuning import FACTORS, TUNING_SEEDS


def _compare(args: Arguments) -> int:
    """Train several optimisers with several seeds."""
    check_lab_extra(args.command)
    announce_code(args.problem)
    problem = find_problem(args.problem)
    found, kept = with_storage_where_taken(args.optimizers, args.storage)
    note = f"without {args.storage}, which they do not take: {', '.join(kept)}" if kept else ""
    seeds, stem = range(args.seed, args.seed + args.seeds), f"compare-{file_name(problem.name)}"
    return _run(args, problem, resolve_all(found), seeds, stem, note)


def _train(args: Arguments) -> int:
    """Train one optimiser with one seed."""
    check_lab_extra(args.command)
    announce_code(args.problem)
    problem = find_problem(args.problem)
    optimizer = with_storage(args.optimizers[0], args.storage)
    stem = f"train-{file_name(problem.name)}-{file_name(optimizer.name)}"
    return _run(args, problem, [optimizer], [args.seed], stem)


def _run(
    args: Arguments,
    problem: Problem,
    optimizers: Sequence[Optimizer],
    seeds: Sequence[int],
    stem: str,
    note: str = "",
) -> int:
    """Train the optimisers and write the results.

    Everything that can be refused is refused before the training begins, and before the note, if
    there is one, is printed: what is refused says one line.
    """
    tune, several = getattr(args, "tune", False), args.command == "compare"
    epochs = len(optimizers) * len(seeds) * (args.epochs or problem.epochs)
    tuned = len(optimizers) * len(FACTORS) * TUNING_SEEDS
    planned = {"compiling": len(optimizers) * (1 + tune), "training": epochs, "drawing": 1}
    planned |= {"tuning": tuned} if tune else {}
    with (
        run_folder(args, stem, report.names(stem)) as folder,
        progress(args.quiet, stages(args, planned)) as shown,
        workers(args, shown) as elsewhere,
    ):
        tuning = _Tuning(shown, len(FACTORS) * TUNING_SEEDS)

        def on_progress(fraction: float, epoch: Epoch) -> None:
            shown.advance("training", fraction * epochs)
            if not several and not args.quiet:
                _print_epoch(epoch)

        def on_stage(kind: str, what: str) -> None:
            nonlocal note
            if note:
                say(note)
            note = ""
            shown.stage(kind, what)

        found = compare(
            sent(args, problem),
            optimizers,
            seeds,
            learning_rate=args.learning_rate,
            epochs=args.epochs,
            batch_size=args.batch_size,
            data_dir=args.data_dir,
            tune=tune,
            parts=folder.parts,
            on_progress=on_progress,
            on_tuning=tuning.advance,
            on_stage=on_stage,
            **elsewhere,
        )
        return _finish(found, folder, stem, shown)


class _Tuning:
    """Count the runs of all tuning, optimiser after optimiser."""

    def __init__(self, shown: Shown, each: int) -> None:
        self._shown, self._each = shown, each
        self._names: list[str] = []

    def advance(self, name: str, done: int, planned: int) -> None:
        """Note that so many runs of an optimiser's tuning are done."""
        if name not in self._names:
            self._names.append(name)
        self._shown.advance("tuning", (len(self._names) - 1) * self._each + done)


def _finish(found: Comparison, folder: RunFolder, stem: str, shown: Shown) -> int:
    """Write what is there, print it, and return the exit code."""
    how = folder.to_go_on()
    done, planned, unfinished = len(found.runs), found.planned, found.unfinished
    text = f"results are of {done} of {planned} runs; {how}"
    if not done:
        if unfinished is None:
            return interrupted(f"before an epoch was finished; {how}")
        epochs = len(unfinished.train_loss)
        text = f"results are of the first {epochs} epochs; {how}"
        if planned > 1:
            return interrupted(f"before a run was finished: no results yet; {how}")
        found = dataclasses.replace(found, runs=(unfinished,))
    if found.interrupted:
        say("interrupted: writing what is finished; Ctrl-C again leaves without")
    shown.stage("drawing", "figures")
    try:
        written = report.write(found, folder.results, stem)
    finally:
        # If the disk filled up meanwhile, the numbers are shown all the same.
        shown.close()
        show(report.table(found))
    say_written(written)
    if found.interrupted:
        return interrupted(text)
    folder.finish()
    if all(run.diverged for run in found.runs):
        return fail("every run diverged; try lower learning rates", DIVERGED)
    return 0


def _print_epoch(epoch: Epoch) -> None:
    print(
        f"epoch {epoch.epoch}/{epoch.epochs}: train loss {epoch.train_loss:.4f},",
        f"test accuracy {epoch.test_accuracy:.2%}",
        flush=True,
    )


COMPARE = Command(
    "compare",
    "train several optimisers with the same seeds",
    TRAINING_DETAILS,
    [
        *training_options(rate=True),
        optimizer_option(several=True, default=DEFAULT_OPTIMIZERS),
        option("--tune", is_flag=True, help="each at its own best learning rate, from a sweep"),
        *seeds_options(),
        *executor_options(),
        *result_options(),
    ],
    _compare,
    examples="""\
  adam-optax compare digits
  adam-optax compare digits --optimizer adam,optax.adam --seeds 5
  adam-optax compare digits --optimizer adam,optax.sgd --tune
""",
    epilog=training_epilog,
    refusals=(LabError,),
)
TRAIN = Command(
    "train",
    "train one optimiser with one seed",
    TRAINING_DETAILS,
    [
        *training_options(rate=True),
        optimizer_option(),
        seed_option(),
        *result_options(),
    ],
    _train,
    examples="""\
  adam-optax train digits --optimizer nadam --learning-rate 3e-3
  adam-optax train mnist --data-dir data/mnist --epochs 5
""",
    epilog=training_epilog,
    refusals=(LabError,),
    elsewhere={"--seeds": "compare with --seeds, or --seed N"},
)
