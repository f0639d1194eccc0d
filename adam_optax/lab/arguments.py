"""The command line's arguments: what they are called, what they mean, what is refused."""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from adam_optax.aot import command as aot
from adam_optax.convert import command as convert
from adam_optax.lab.errors import LabError
from adam_optax.lab.optimizers import DEFAULT_OPTIMIZERS, PRESETS
from adam_optax.lab.problems import problems

_COMPARE_EXAMPLES = """\
  adam-optax compare digits
  adam-optax compare digits --optimizers adam,optax.adam --seeds 5
"""
_TRAIN_EXAMPLES = """\
  adam-optax train digits --optimizer nadam --learning-rate 3e-3
  adam-optax train mnist --data-dir data/mnist --epochs 5
"""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses the arguments; those that train give `optimizers` and `seeds` as sequences.

    Raises:
      LabError: If an argument is unknown, missing or out of range.
    """
    parser = _Parser(
        prog="adam-optax",
        description="Compare optimisers of the Adam family on real data, and convert their states.",
        epilog=f"examples:\n{_COMPARE_EXAMPLES}{_TRAIN_EXAMPLES}{convert.EXAMPLES}{aot.EXAMPLES}\n{_problems()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_compare(commands)
    _add_train(commands)
    convert.add_arguments(commands)
    aot.add_arguments(commands)
    return parser.parse_args(argv)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raises rather than prints the usage, so that an error is one line."""
        raise LabError(f"{message}; see {self.prog} --help")


def _add_compare(commands: "argparse._SubParsersAction[_Parser]") -> None:
    summary = "train several optimisers with the same seeds"
    parser = _subparser(commands, "compare", summary, _COMPARE_EXAMPLES)
    parser.add_argument(
        "--optimizers",
        type=_names,
        default=list(DEFAULT_OPTIMIZERS),
        metavar="A,B,...",
        help=f"default: {','.join(DEFAULT_OPTIMIZERS)}",
    )
    parser.add_argument(
        "--seeds",
        type=_seeds,
        default=range(3),
        metavar="N",
        help="train with the seeds 0 to N-1 (default: 3)",
    )


def _add_train(commands: "argparse._SubParsersAction[_Parser]") -> None:
    summary = "train one optimiser with one seed"
    parser = _subparser(commands, "train", summary, _TRAIN_EXAMPLES)
    parser.add_argument(
        "--optimizer",
        type=_name,
        default=["adam"],
        dest="optimizers",
        metavar="A",
        help="default: adam",
    )
    parser.add_argument(
        "--seed",
        type=_seed,
        default=[0],
        dest="seeds",
        metavar="N",
        help="of the initial parameters and the order of the batches (default: 0)",
    )


def _subparser(
    commands: "argparse._SubParsersAction[_Parser]", name: str, summary: str, examples: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary.capitalize()}; print a table, write a figure and CSV files.",
        epilog=f"examples:\n{examples}\n{_problems()}\n{_optimizers()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("problem", metavar="PROBLEM", help=" or ".join(problems))
    _add_common(parser)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    def add(name: str, kind: Callable[[str], object], metavar: str, text: str) -> None:
        parser.add_argument(name, type=kind, metavar=metavar, help=text)

    add("--epochs", _positive, "N", "passes over the training set (default: the problem's)")
    add("--batch-size", _positive, "N", "examples per step (default: the problem's)")
    add("--learning-rate", _rate, "X", "one rate for all (default: see below)")
    add("--data-dir", _path, "DIR", "where the data files are, for mnist")
    add("--out", _path, "DIR", "where the results go (default: adam-optax-results)")
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


def _positive(text: str) -> int:
    return _integer(text, 1)


def _integer(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value < 2**31:
        raise argparse.ArgumentTypeError(f"expected an integer from {least}, got {text!r}")
    return value


def _seeds(text: str) -> range:
    return range(_positive(text))


def _seed(text: str) -> list[int]:
    return [_integer(text, 0)]


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text!r}")
    return value


def _names(text: str) -> list[str]:
    return [name for part in text.split(",") for name in _name(part)]


def _name(text: str) -> list[str]:
    if not text.strip():
        raise argparse.ArgumentTypeError(f"expected the name of an optimiser, got {text!r}")
    return [text.strip()]


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("expected a directory, got an empty text")
    return Path(text)
