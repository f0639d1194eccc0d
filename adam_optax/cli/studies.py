"""The commands sweep, suggest and watch."""

import argparse
from typing import Any

from adam_optax.cli.console import bar, finish, interrupted
from adam_optax.lab.files import check_writable
from adam_optax.lab.observe import observe
from adam_optax.lab.problems import get
from adam_optax.lab.settings import RATE
from adam_optax.lab.storages import file_name, stored
from adam_optax.lab.study_reports import ENDS, suggestion_report, sweep_report, watch_report
from adam_optax.lab.suggest import suggest
from adam_optax.lab.sweep import sweep
from adam_optax.lab.tuning import rates

COMMANDS = ("sweep", "suggest", "watch")


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
    with bar(args.quiet) as show:
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
    finish(sweep_report(found), args.out, stem)
    if found.interrupted:
        return interrupted(f"the same command goes on from {parts}")
    return 0


def _suggest(args: Any, problem: Any, optimizers: Any, stem: str, how: dict[str, Any]) -> int:
    with bar(args.quiet) as show:
        found = suggest(problem, optimizers[0], args.seeds, on_progress=show, **how)
    finish(suggestion_report(found), args.out, stem)
    return 0


def _watch(args: Any, problem: Any, optimizers: Any, stem: str, how: dict[str, Any]) -> int:
    with bar(args.quiet) as show:
        found = observe(
            problem,
            optimizers[0],
            args.seeds[0],
            learning_rate=args.learning_rate,
            on_epoch=lambda epoch: show(epoch.epoch, epoch.epochs),
            **how,
        )
    finish(watch_report(found), args.out, stem)
    return 0


_DO = {"sweep": _sweep, "suggest": _suggest, "watch": _watch}
