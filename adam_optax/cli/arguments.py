"""The command line's arguments: what they are called, what they mean, what is refused."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from adam_optax.cli import argument_types as types
from adam_optax.cli import compile_report as aot
from adam_optax.cli import convert as convert
from adam_optax.cli import paper as paper
from adam_optax.lab.errors import LabError
from adam_optax.lab.optimizers import DEFAULT_OPTIMIZERS, PRESETS
from adam_optax.lab.problems import problems
from adam_optax.lab.storages import KNOWN

_COMPARE_EXAMPLES = """\
  adam-optax compare digits
  adam-optax compare digits --optimizers adam,optax.adam --seeds 5
  adam-optax compare digits --optimizers adam,optax.sgd --tune
"""
_TRAIN_EXAMPLES = """\
  adam-optax train digits --optimizer nadam --learning-rate 3e-3
  adam-optax train mnist --data-dir data/mnist --epochs 5
"""
_SWEEP_EXAMPLES = """\
  adam-optax sweep digits
  adam-optax sweep digits --set learning_rate=1e-3:1e-1:7 --set b1=0.5,0.9 --seeds 2
  adam-optax sweep digits --optimizer adam,nadam,yogi
"""
_SUGGEST_EXAMPLES = """\
  adam-optax suggest digits
  adam-optax suggest mnist --data-dir data/mnist --optimizer nadam --epochs 1
"""
_WATCH_EXAMPLES = """\
  adam-optax watch digits
  adam-optax watch digits --storage pair --learning-rate 3e-2
"""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses the arguments; those that train give `optimizers` and `seeds` as sequences.

    Raises:
      LabError: If an argument is unknown, missing or out of range.
    """
    parser = _Parser(
        prog="adam-optax",
        description="Compare optimisers of the Adam family on real data, and convert their states.",
        epilog=f"examples:\n{_COMPARE_EXAMPLES}{_TRAIN_EXAMPLES}{_SWEEP_EXAMPLES}"
        f"{_SUGGEST_EXAMPLES}{_WATCH_EXAMPLES}{paper.EXAMPLES}{convert.EXAMPLES}{aot.EXAMPLES}\n{_problems()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_compare(commands)
    _add_train(commands)
    _add_sweep(commands)
    _add_suggest(commands)
    _add_watch(commands)
    paper.add_arguments(commands)
    convert.add_arguments(commands)
    aot.add_arguments(commands)
    args = parser.parse_args(argv)
    if hasattr(args, "first_seed"):
        args.seeds = [args.first_seed[0] + seed for seed in args.seeds]
    return args


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raises rather than prints the usage, so that an error is one line."""
        raise LabError(f"{message}; see {self.prog} --help")


def _add_compare(commands: "argparse._SubParsersAction[_Parser]") -> None:
    summary = "train several optimisers with the same seeds"
    parser = _subparser(commands, "compare", summary, _COMPARE_EXAMPLES)
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
    _add_seeds(parser)


def _add_train(commands: "argparse._SubParsersAction[_Parser]") -> None:
    summary = "train one optimiser with one seed"
    parser = _subparser(commands, "train", summary, _TRAIN_EXAMPLES)
    _add_optimizer(parser)
    _add_seed(parser)


def _add_sweep(commands: "argparse._SubParsersAction[_Parser]") -> None:
    summary = "train every setting of hyper-parameters, with several seeds"
    parser = _subparser(commands, "sweep", summary, _SWEEP_EXAMPLES, rate=False)
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
    _add_seeds(parser)


def _add_suggest(commands: "argparse._SubParsersAction[_Parser]") -> None:
    summary = "find a learning rate, betas and an epsilon in short runs"
    parser = _subparser(commands, "suggest", summary, _SUGGEST_EXAMPLES, rate=False)
    _add_optimizer(parser)
    _add_seeds(parser, 2)


def _add_watch(commands: "argparse._SubParsersAction[_Parser]") -> None:
    summary = "train, and record what the optimiser does to each layer"
    parser = _subparser(commands, "watch", summary, _WATCH_EXAMPLES)
    _add_optimizer(parser)
    _add_seed(parser)


def _add_optimizer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--optimizer",
        type=types.name,
        default=["adam"],
        dest="optimizers",
        metavar="A",
        help="default: adam",
    )


def _add_seed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seed",
        type=types.seed,
        default=[0],
        dest="seeds",
        metavar="N",
        help="of the initial parameters and the order of the batches (default: 0)",
    )


def _add_seeds(parser: argparse.ArgumentParser, count: int = 3) -> None:
    parser.add_argument(
        "--seeds",
        type=types.seeds,
        default=range(count),
        metavar="N",
        help=f"train with N seeds (default: {count})",
    )
    parser.add_argument(
        "--seed",
        type=types.seed,
        default=[0],
        dest="first_seed",
        metavar="N",
        help="the first of them (default: 0)",
    )


def _subparser(
    commands: "argparse._SubParsersAction[_Parser]",
    name: str,
    summary: str,
    examples: str,
    rate: bool = True,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary.capitalize()}; print a table, write figures, CSV files "
        "and a page of them (HTML).",
        epilog=f"examples:\n{examples}\n{_problems()}\n{_optimizers()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "problem", metavar="PROBLEM", help=f"{', '.join(problems)}, or module:function"
    )
    _add_common(parser, rate)
    return parser


def _add_common(parser: argparse.ArgumentParser, rate: bool) -> None:
    def add(name: str, kind: Callable[[str], object], metavar: str, text: str) -> None:
        parser.add_argument(name, type=kind, metavar=metavar, help=text)

    add("--epochs", types.positive, "N", "passes over the training set (default: the problem's)")
    add("--batch-size", types.positive, "N", "examples per step (default: the problem's)")
    if rate:
        add("--learning-rate", types.rate, "X", "one rate for all (default: see below)")
    add("--data-dir", types.path, "DIR", "where the data files are, for all but digits")
    parser.add_argument("--storage", metavar="S", help=f"of moments: {KNOWN}")
    add("--out", types.path, "DIR", "where the results go (default: adam-optax-results)")
    parser.set_defaults(out=Path("adam-optax-results"))
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def _problems() -> str:
    return "problems:\n" + "".join(
        f"  {problem.name}: {problem.description}\n"
        f"    batch size {problem.batch_size}, {problem.epochs} epochs,"
        f" learning rate {problem.learning_rate:g}, target loss {problem.target_loss:g}\n"
        for problem in problems.values()
    )


def _optimizers() -> str:
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
