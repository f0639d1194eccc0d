"""Define the arguments that several commands share, and the help texts about them."""

import argparse
from collections.abc import Callable
from pathlib import Path

from adam_optax.cli import argument_types as types
from adam_optax.lab import problems
from adam_optax.lab.optimizers import PRESETS
from adam_optax.lab.storage_formats import STORAGE_EXAMPLES

TRAINING_DETAILS = "; print a table, write figures, CSV files and a page of them (HTML)."
"""The rest of the description of a command that trains (see `Command.details`)."""

CODE_HELP = """\
  module:function is your own: the module is imported from where Python finds modules or, if it is
  not there, from the current directory. Its code is run; name no module that you do not trust.
"""
"""Help text about arguments that name code."""


def add_training_arguments(parser: argparse.ArgumentParser, rate: bool) -> None:
    """Add the problem, the budget, the data, the storage format and the output directory.

    Args:
        parser: The parser of a command.
        rate: Whether the command takes one learning rate for all runs.
    """

    def add(name: str, kind: Callable[[str], object], metavar: str, text: str) -> None:
        parser.add_argument(name, type=kind, metavar=metavar, help=text)

    parser.add_argument(
        "problem",
        metavar="PROBLEM",
        help=f"{', '.join(problems)}, or module:function, whose code is run (see below)",
    )
    add("--epochs", types.positive, "N", "passes over the training set (default: the problem's)")
    add("--batch-size", types.positive, "N", "examples per step (default: the problem's)")
    if rate:
        add("--learning-rate", types.rate, "X", "one rate for all (default: see below)")
    add("--data-dir", types.path, "DIR", "where the data files are, for all but digits")
    parser.add_argument("--storage", metavar="S", help=f"of moments: {STORAGE_EXAMPLES}")
    add("--out", types.path, "DIR", "where the results go (default: adam-optax-results)")
    parser.set_defaults(out=Path("adam-optax-results"))
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def add_optimizer(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names one optimiser; it is parsed to a list of one name."""
    parser.add_argument(
        "--optimizer",
        type=types.name,
        default=["adam"],
        dest="optimizers",
        metavar="A",
        help="default: adam",
    )


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Add the argument that chooses the seed of one run."""
    parser.add_argument(
        "--seed",
        type=types.seed,
        default=0,
        metavar="N",
        help="of the initial parameters and the order of the batches (default: 0)",
    )


def add_seeds(parser: argparse.ArgumentParser, count: int = 3) -> None:
    """Add the arguments that choose the number of seeds, and the first of them.

    Args:
        parser: The parser of a command.
        count: Default number of seeds.
    """
    parser.add_argument(
        "--seeds",
        type=types.positive,
        default=count,
        metavar="N",
        help=f"train with N seeds (default: {count})",
    )
    parser.add_argument(
        "--seed",
        type=types.seed,
        default=0,
        metavar="N",
        help="the first of them (default: 0)",
    )


def chosen_seeds(args: argparse.Namespace) -> range:
    """Return the seeds that `--seed` and, where the command has it, `--seeds` choose."""
    return range(args.seed, args.seed + getattr(args, "seeds", 1))


def training_epilog() -> str:
    """Return the help text about problems and optimisers."""
    return f"{describe_problems()}{CODE_HELP}\n{_describe_optimizers()}"


def describe_problems() -> str:
    """Return the help text about the built-in problems."""
    return "problems:\n" + "".join(
        f"  {problem.name}: {problem.description}\n"
        f"    batch size {problem.batch_size}, {problem.epochs} epochs,"
        f" learning rate {problem.learning_rate:g}, target loss {problem.target_loss:g}\n"
        for problem in problems.values()
    )


def _describe_optimizers() -> str:
    factors = "".join(
        f"  {name}: {preset.rate:g} times the problem's learning rate"
        + "".join(f", {key} {value:g}" for key, value in preset.arguments.items())
        + "\n"
        for name, preset in PRESETS.items()
    )
    return (
        "optimisers:\n  named as in adam_optax (adam, nadamw) or as in optax (optax.adam);\n"
        f"  by default at the problem's learning rate, except\n{factors}"
    )
