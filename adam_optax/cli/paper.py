"""The command `adam-optax reproduce`."""

import argparse
from pathlib import Path
from typing import Any

from adam_optax.cli import argument_types as types
from adam_optax.cli.console import bar, finish, interrupted
from adam_optax.lab.files import check_writable
from adam_optax.lab.paper.figures import FIGURES
from adam_optax.lab.paper.report import paper_report, sizes
from adam_optax.lab.paper.run import Reproduction
from adam_optax.lab.study_reports import ENDS

NAME = "reproduce"
EXAMPLES = """\
  adam-optax reproduce figure4 --data-dir data
  adam-optax reproduce figure3 --data-dir data/cifar-10-batches-bin --full
"""


def add_arguments(commands: "argparse._SubParsersAction[Any]") -> None:
    """Adds the command to the others."""
    summary = "run the experiments behind a figure of the Adam paper"
    parser = commands.add_parser(
        NAME,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}: every optimiser at every\n"
        "learning rate of a grid, from the same start on the same batches. Print each at its best\n"
        "rate, and which of the paper's claims are borne out; write the figure, every run (CSV)\n"
        "and a page of them (HTML). What was stopped goes on where it was.",
        epilog=f"examples:\n{EXAMPLES}\nfigures:\n{_figures()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("figure", choices=FIGURES, metavar="FIGURE", help=", ".join(FIGURES))
    parser.add_argument(
        "--data-dir",
        type=types.path,
        metavar="DIR",
        required=True,
        help="where the data files are: in a folder of the data's name in it, or in it",
    )
    parser.add_argument(
        "--full", action="store_true", help="at the paper's size: days on a CPU (see below)"
    )
    parser.add_argument(
        "--seed",
        type=types.seed,
        default=[0],
        metavar="N",
        help="of the initial parameters and the order of the batches (default: 0)",
    )
    parser.add_argument("--out", type=types.path, metavar="DIR", default=Path("adam-optax-results"))
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def run(args: argparse.Namespace) -> int:
    """Runs it; returns the exit code.

    Raises:
      LabError: For bad input, or if an optimiser diverged at every rate.
    """
    stem = f"{NAME}-{args.figure}" + ("-full" if args.full else "")
    check_writable(args.out, [stem + end for end in ENDS])
    parts = args.out / f"{stem}-parts"
    reproduction = Reproduction(args.figure, args.full, args.data_dir, parts)
    try:
        with bar(args.quiet) as show:
            curves = reproduction.run(args.seed[0], show)
    except KeyboardInterrupt:
        return interrupted(f"the same command goes on from {parts}")
    finish(paper_report(args.figure, curves, args.full), args.out, stem)
    reproduction.clear()
    return 0


def _figures() -> str:
    return "".join(
        f"  {name}: {', '.join(sorted({panel.data for panel in panels}))}\n"
        f"    {sizes(name, False)}\n    with --full: {sizes(name, True)}\n"
        for name, panels in FIGURES.items()
    )
