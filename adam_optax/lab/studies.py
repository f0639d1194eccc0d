"""The commands sweep, suggest and watch."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adam_optax.lab.files import check_writable
from adam_optax.lab.observe import observe
from adam_optax.lab.problems import get
from adam_optax.lab.settings import RATE
from adam_optax.lab.storages import file_name, stored
from adam_optax.lab.study_reports import (
    ENDS,
    Report,
    suggestion_report,
    sweep_report,
    watch_report,
)
from adam_optax.lab.suggest import suggest
from adam_optax.lab.sweep import OnProgress, sweep
from adam_optax.lab.tuning import rates

COMMANDS = ("sweep", "suggest", "watch")
_INTERRUPTED = 130


def run(args: argparse.Namespace) -> int:
    """Runs one of `COMMANDS`; returns the exit code.

    Raises:
      LabError: For bad input.
    """
    problem = get(args.problem)
    optimizers = [stored(name, args.storage) for name in args.optimizers]
    label = "-".join(file_name(o.name) for o in optimizers)
    stem = f"{args.command}-{problem.name}-{label}"
    check_writable(args.out, [stem + end for end in ENDS])
    how = {"epochs": args.epochs, "batch_size": args.batch_size, "data_dir": args.data_dir}
    return _DO[args.command](args, problem, optimizers, stem, how)


def _sweep(args: Any, problem: Any, optimizers: Any, stem: str, how: dict[str, Any]) -> int:
    settings = dict(args.settings) or {RATE: rates(problem, optimizers[0])}
    parts = args.out / f"{stem}-parts"
    with _bar(args.quiet) as show:
        found = sweep(
            problem,
            optimizers,
            settings,
            args.seeds,
            parallel=args.parallel,
            parts=parts,
            on_progress=show,
            **how,
        )
    if not found.points:
        raise KeyboardInterrupt
    _finish(sweep_report(found), args.out, stem)
    if found.interrupted:
        print(f"adam-optax: interrupted: the same command goes on from {parts}", file=sys.stderr)
        return _INTERRUPTED
    return 0


def _suggest(args: Any, problem: Any, optimizers: Any, stem: str, how: dict[str, Any]) -> int:
    with _bar(args.quiet) as show:
        found = suggest(problem, optimizers[0], args.seeds, on_progress=show, **how)
    _finish(suggestion_report(found), args.out, stem)
    return 0


def _watch(args: Any, problem: Any, optimizers: Any, stem: str, how: dict[str, Any]) -> int:
    with _bar(args.quiet) as show:
        found = observe(
            problem,
            optimizers[0],
            args.seeds[0],
            learning_rate=args.learning_rate,
            on_epoch=lambda epoch: show(epoch.epoch, epoch.epochs),
            **how,
        )
    _finish(watch_report(found), args.out, stem)
    return 0


_DO = {"sweep": _sweep, "suggest": _suggest, "watch": _watch}


def _finish(report: Report, out: Path, stem: str) -> None:
    try:
        written = report.write(out, stem)
    finally:
        # A disk that filled up meanwhile must not cost the numbers as well.
        _print(report)
    print("Wrote", ", ".join(map(str, written)), flush=True)


def _print(report: Report) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    title, header, rows = report.table
    print(title)
    table = Table(box=SIMPLE_HEAD)
    for place, name in enumerate(header):
        table.add_column(name, justify="right" if place else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))  # a name in square brackets would be taken for markup
    console = Console()
    if not console.is_terminal:
        # A file has no width; rich would assume 80 columns and cut the numbers.
        console.width = console.measure(table, options=console.options.update(width=1000)).maximum
    console.print(table)
    for note in report.notes:
        print(note)


@contextmanager
def _bar(quiet: bool) -> Iterator[OnProgress]:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    disable = quiet or not console.is_terminal
    with Progress(console=console, disable=disable, transient=True) as bar:
        task = bar.add_task("training", total=None)

        def show(done: int, planned: int) -> None:
            bar.update(task, completed=done, total=planned, description=f"{done} of {planned}")

        yield show
