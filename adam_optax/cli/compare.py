"""Run the commands `adam-optax compare` and `adam-optax train`."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from adam_optax.cli import argument_types as types
from adam_optax.cli.arguments import (
    TRAINING_DETAILS,
    add_optimizer,
    add_seed,
    add_seeds,
    add_training_arguments,
    chosen_seeds,
    training_epilog,
)
from adam_optax.cli.console import (
    INTERRUPTED,
    announce_code,
    check_lab_extra,
    fail,
    interrupted,
    show,
)
from adam_optax.cli.parser import Command
from adam_optax.lab import Comparison, Epoch, compare
from adam_optax.lab._problems.builtin import find_problem
from adam_optax.lab.optimizers import DEFAULT_OPTIMIZERS, resolve_all
from adam_optax.lab.reports import comparison as report
from adam_optax.lab.reports.files import check_writable
from adam_optax.lab.storage_formats import file_name, with_storage

_OnProgress = Callable[[float, Epoch], object]


def _add_compare_arguments(parser: argparse.ArgumentParser) -> None:
    add_training_arguments(parser, rate=True)
    parser.add_argument(
        "--optimizers",
        type=types.names,
        default=list(DEFAULT_OPTIMIZERS),
        metavar="A,B,...",
        help=f"default: {','.join(DEFAULT_OPTIMIZERS)}",
    )
    parser.add_argument(
        "--tune", action="store_true", help="each at its own best learning rate, from a sweep"
    )
    add_seeds(parser)


def _add_train_arguments(parser: argparse.ArgumentParser) -> None:
    add_training_arguments(parser, rate=True)
    add_optimizer(parser)
    add_seed(parser)


def _run(args: argparse.Namespace) -> int:
    """Train the optimisers and write the results.

    Everything that can be refused is refused before the training begins.
    """
    check_lab_extra(args.command)
    announce_code(args.problem)
    problem = find_problem(args.problem)
    optimizers = resolve_all([with_storage(name, args.storage) for name in args.optimizers])
    stem = f"compare-{file_name(problem.name)}"
    if args.command == TRAIN.name:
        stem = f"train-{file_name(problem.name)}-{file_name(optimizers[0].name)}"
    check_writable(args.out / stem, report.names(stem))
    with _show_progress(args) as on_progress:
        found = compare(
            problem,
            optimizers,
            chosen_seeds(args),
            learning_rate=args.learning_rate,
            epochs=args.epochs,
            batch_size=args.batch_size,
            data_dir=args.data_dir,
            tune=getattr(args, "tune", False),
            on_progress=on_progress,
            on_tuning=_announce_tuning(args.quiet),
        )
    return _finish(found, args.out, stem)


def _finish(comparison: Comparison, out: Path, stem: str) -> int:
    done, planned = len(comparison.runs), comparison.planned
    if not done:
        return fail("interrupted before a run was finished: nothing written", INTERRUPTED)
    try:
        written = report.write(comparison, out, stem)
    finally:
        # If the disk filled up meanwhile, the numbers are shown all the same.
        show(report.table(comparison))
    print("Wrote", ", ".join(map(str, written)), flush=True)
    if comparison.interrupted:
        return interrupted(f"results are of {done} of {planned} runs")
    return 0


def _announce_tuning(quiet: bool) -> Callable[[str, int, int], object]:
    """Return a function that says which optimiser is tuned, if stderr is a terminal."""

    def announce(name: str, done: int, planned: int) -> None:
        if not quiet and done == planned and sys.stderr.isatty():
            print(f"{name}: tuned in {planned} runs", file=sys.stderr)

    return announce


def _show_progress(args: argparse.Namespace) -> AbstractContextManager[_OnProgress]:
    """Show a progress bar over many runs, or the epochs of a single run."""
    return _bar(args.quiet) if args.command == COMPARE.name else _epoch_lines(args.quiet)


@contextmanager
def _bar(quiet: bool) -> Iterator[_OnProgress]:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    disable = quiet or not console.is_terminal
    with Progress(console=console, disable=disable, transient=True) as bar:
        task = bar.add_task("starting", total=1.0)

        def update(fraction: float, epoch: Epoch) -> None:
            label = f"{epoch.optimizer}, seed {epoch.seed}"
            bar.update(task, completed=fraction, description=label)

        yield update


@contextmanager
def _epoch_lines(quiet: bool) -> Iterator[_OnProgress]:
    def show_epoch(_: float, epoch: Epoch) -> None:
        if not quiet:
            print(
                f"epoch {epoch.epoch}/{epoch.epochs}: train loss {epoch.train_loss:.4f},",
                f"test accuracy {epoch.test_accuracy:.2%}",
                flush=True,
            )

    yield show_epoch


COMPARE = Command(
    name="compare",
    summary="train several optimisers with the same seeds",
    details=TRAINING_DETAILS,
    examples="""\
  adam-optax compare digits
  adam-optax compare digits --optimizers adam,optax.adam --seeds 5
  adam-optax compare digits --optimizers adam,optax.sgd --tune
""",
    epilog=training_epilog,
    add_arguments=_add_compare_arguments,
    run=_run,
)
TRAIN = Command(
    name="train",
    summary="train one optimiser with one seed",
    details=TRAINING_DETAILS,
    examples="""\
  adam-optax train digits --optimizer nadam --learning-rate 3e-3
  adam-optax train mnist --data-dir data/mnist --epochs 5
""",
    epilog=training_epilog,
    add_arguments=_add_train_arguments,
    run=_run,
)
