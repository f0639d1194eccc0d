"""Run the commands `adam-optax sweep`, `suggest` and `watch`."""

import argparse
from typing import Any

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
from adam_optax.cli.console import announce_code, bar, check_lab_extra, finish, interrupted, say
from adam_optax.cli.parser import Command
from adam_optax.lab import Optimizer, Problem, observe, suggest, sweep
from adam_optax.lab._problems.builtin import find_problem
from adam_optax.lab.errors import LabError
from adam_optax.lab.grid import LEARNING_RATE
from adam_optax.lab.reports.files import check_writable
from adam_optax.lab.reports.studies import ENDS, suggestion_report, sweep_report, watch_report
from adam_optax.lab.storage_formats import file_name, with_storage
from adam_optax.lab.tuning import learning_rates


def _add_sweep_arguments(parser: argparse.ArgumentParser) -> None:
    add_training_arguments(parser, rate=False)
    parser.add_argument(
        "--optimizer",
        type=types.names,
        default=["adam"],
        dest="optimizers",
        metavar="A,B,...",
        help="one, or several that keep the same state (default: adam)",
    )
    parser.add_argument(
        "--set",
        type=types.setting,
        action="append",
        default=[],
        dest="settings",
        metavar="NAME=...",
        help="values of a hyper-parameter, x,y,... or low:high:count in equal ratios; may be given "
        "for several (default: learning rates around the problem's)",
    )
    parser.add_argument(
        "--parallel", type=types.positive, metavar="N", help="runs vmapped at a time"
    )
    add_seeds(parser)


def _add_suggest_arguments(parser: argparse.ArgumentParser) -> None:
    add_training_arguments(parser, rate=False)
    add_optimizer(parser)
    add_seeds(parser, 10)


def _add_watch_arguments(parser: argparse.ArgumentParser) -> None:
    add_training_arguments(parser, rate=True)
    add_optimizer(parser)
    add_seed(parser)


def _run_sweep(args: argparse.Namespace) -> int:
    problem, optimizers, stem = _prepare(args)
    parts = args.out / f"{stem}-parts"
    with bar(args.quiet) as show:
        found = sweep(
            problem,
            optimizers,
            _settings(args) or {LEARNING_RATE: learning_rates(problem, optimizers[0])},
            chosen_seeds(args),
            parallel=args.parallel,
            parts=parts,
            on_progress=show,
            **_budget(args),
        )
    if not found.points:
        raise KeyboardInterrupt
    finish(sweep_report(found), args.out, stem)
    if found.interrupted:
        return interrupted(f"the same command goes on from {parts}")
    return 0


def _settings(args: argparse.Namespace) -> dict[str, list[float]]:
    """Return the values by hyper-parameter, and refuse two lists of one."""
    names = [name for name, _ in args.settings]
    if twice := [name for name in names if names.count(name) > 1]:
        raise LabError(f"--set {twice[0]} is there twice; give its values in one, x,y,...")
    return dict(args.settings)


def _run_suggest(args: argparse.Namespace) -> int:
    problem, optimizers, stem = _prepare(args)
    with bar(args.quiet) as show:
        found = suggest(
            problem,
            optimizers[0],
            chosen_seeds(args),
            on_progress=show,
            on_note=None if args.quiet else say,
            **_budget(args),
        )
    finish(suggestion_report(found), args.out, stem)
    return 0


def _run_watch(args: argparse.Namespace) -> int:
    problem, optimizers, stem = _prepare(args)
    with bar(args.quiet) as show:
        found = observe(
            problem,
            optimizers[0],
            args.seed,
            learning_rate=args.learning_rate,
            on_epoch=lambda epoch: show(epoch.epoch, epoch.epochs),
            **_budget(args),
        )
    finish(watch_report(found), args.out, stem)
    return 0


def _prepare(args: argparse.Namespace) -> tuple[Problem, list[Optimizer], str]:
    """Find the problem and the optimisers, and check that the results can be written.

    Returns:
        The problem, the optimisers, and the beginning of the names of the results' files.
    """
    check_lab_extra(args.command)
    announce_code(args.problem)
    problem = find_problem(args.problem)
    optimizers = [with_storage(name, args.storage) for name in args.optimizers]
    label = "-".join(file_name(optimizer.name) for optimizer in optimizers)
    stem = f"{args.command}-{file_name(problem.name)}-{label}"
    check_writable(args.out / stem, [stem + end for end in ENDS])
    return problem, optimizers, stem


def _budget(args: argparse.Namespace) -> dict[str, Any]:
    return {"epochs": args.epochs, "batch_size": args.batch_size, "data_dir": args.data_dir}


SWEEP = Command(
    name="sweep",
    summary="train every setting of hyper-parameters, with several seeds",
    details=TRAINING_DETAILS,
    examples="""\
  adam-optax sweep digits
  adam-optax sweep digits --set learning_rate=1e-3:1e-1:7 --set b1=0.5,0.9 --seeds 2
  adam-optax sweep digits --optimizer adam,nadam,yogi
""",
    epilog=training_epilog,
    add_arguments=_add_sweep_arguments,
    run=_run_sweep,
)
SUGGEST = Command(
    name="suggest",
    summary="find a better learning rate, betas and epsilon, or keep the default",
    details=TRAINING_DETAILS,
    examples="""\
  adam-optax suggest digits
  adam-optax suggest mnist --data-dir data/mnist --optimizer nadam
""",
    epilog=training_epilog,
    add_arguments=_add_suggest_arguments,
    run=_run_suggest,
)
WATCH = Command(
    name="watch",
    summary="train, and record what the optimiser does to each layer",
    details=TRAINING_DETAILS,
    examples="""\
  adam-optax watch digits
  adam-optax watch digits --storage pair --learning-rate 3e-2
""",
    epilog=training_epilog,
    add_arguments=_add_watch_arguments,
    run=_run_watch,
)
