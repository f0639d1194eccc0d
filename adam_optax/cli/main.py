"""The command `adam-optax`: compare optimisers, train, sweep, watch, reproduce, convert."""

import argparse
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from adam_optax.cli import compile_report as aot
from adam_optax.cli import convert as convert
from adam_optax.cli import paper as paper
from adam_optax.cli import studies
from adam_optax.cli.arguments import parse
from adam_optax.cli.console import INTERRUPTED, interrupted, show
from adam_optax.convert import ConversionError
from adam_optax.lab import report
from adam_optax.lab.compare import Comparison, compare
from adam_optax.lab.errors import LabError, needs_lab_extra
from adam_optax.lab.files import check_writable
from adam_optax.lab.optimizers import resolve_all
from adam_optax.lab.problems import get
from adam_optax.lab.record import Epoch
from adam_optax.lab.storages import file_name, stored

_BAD_INPUT, _BROKEN_PIPE = 2, 1
_OnProgress = Callable[[float, Epoch], object]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
      argv: The arguments, by default those of the process.

    Returns:
      0 if all went well, 2 for bad input (one line on stderr says what), 130 for Ctrl-C,
      1 if whoever read the output stopped reading.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # the table has a ±, the terminal may not
    try:
        return _run(parse(argv))
    except (LabError, ConversionError) as error:
        return _fail(f"error: {error}", _BAD_INPUT)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        return _BROKEN_PIPE


def _run(args: argparse.Namespace) -> int:
    if args.command == "convert":
        print("Wrote", convert.run(args), flush=True)
        return 0
    if args.command == aot.NAME:
        print(aot.run(args), flush=True)
        return 0
    with needs_lab_extra(f"adam-optax {args.command}"):
        import matplotlib.figure  # noqa: F401  # now rather than after the training
        import rich.console  # noqa: F401
    if args.command in studies.COMMANDS:
        return studies.run(args)
    if args.command == paper.NAME:
        return paper.run(args)
    # All that can be refused is refused here, before anything is trained.
    problem = get(args.problem)
    optimizers = resolve_all([stored(name, args.storage) for name in args.optimizers])
    stem = f"compare-{problem.name}"
    if args.command == "train":
        stem = f"train-{problem.name}-{file_name(optimizers[0].name)}"
    check_writable(args.out, report.names(stem))
    with _watch(args) as on_progress:
        comparison = compare(
            problem,
            optimizers,
            args.seeds,
            learning_rate=args.learning_rate,
            epochs=args.epochs,
            batch_size=args.batch_size,
            data_dir=args.data_dir,
            tune=getattr(args, "tune", False),
            on_progress=on_progress,
            on_tuning=_said(args.quiet),
        )
    return _finish(comparison, args.out, stem)


def _finish(comparison: Comparison, out: Path, stem: str) -> int:
    done, planned = len(comparison.runs), comparison.planned
    if not done:
        return _fail("interrupted before a run was finished: nothing written", INTERRUPTED)
    try:
        written = report.write(comparison, out, stem)
    finally:
        # A disk that filled up meanwhile must not cost the numbers as well.
        show(report.table(comparison))
    print("Wrote", ", ".join(map(str, written)), flush=True)
    if comparison.interrupted:
        return interrupted(f"results are of {done} of {planned} runs")
    return 0


def _fail(message: str, code: int) -> int:
    print("adam-optax:", " ".join(message.split()), file=sys.stderr)
    return code


def _said(quiet: bool) -> Callable[[str, int, int], object]:
    """Says which optimiser is being tuned, where someone is looking."""

    def show(name: str, done: int, planned: int) -> None:
        if not quiet and done == planned and sys.stderr.isatty():
            print(f"{name}: tuned in {planned} runs", file=sys.stderr)

    return show


def _watch(args: argparse.Namespace) -> AbstractContextManager[_OnProgress]:
    """Shows progress: a bar over many runs, the epochs of a single one."""
    return _bar(args.quiet) if args.command == "compare" else _lines(args.quiet)


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
def _lines(quiet: bool) -> Iterator[_OnProgress]:
    def show(_: float, epoch: Epoch) -> None:
        if not quiet:
            print(
                f"epoch {epoch.epoch}/{epoch.epochs}: train loss {epoch.train_loss:.4f},",
                f"test accuracy {epoch.test_accuracy:.2%}",
                flush=True,
            )

    yield show
