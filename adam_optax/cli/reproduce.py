"""Run the command `adam-optax reproduce`."""

import argparse
from pathlib import Path

from adam_optax.cli import argument_types as types
from adam_optax.cli.arguments import add_seeds, chosen_seeds
from adam_optax.cli.console import bar, check_lab_extra, finish, interrupted
from adam_optax.cli.parser import Command
from adam_optax.lab.paper.figures import FIGURES
from adam_optax.lab.paper.report import paper_report, sizes
from adam_optax.lab.paper.run import Reproduction
from adam_optax.lab.reports.files import check_writable
from adam_optax.lab.reports.studies import ENDS


def _add_arguments(parser: argparse.ArgumentParser) -> None:
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
    add_seeds(parser)
    parser.add_argument("--out", type=types.path, metavar="DIR", default=Path("adam-optax-results"))
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def _run(args: argparse.Namespace) -> int:
    check_lab_extra(args.command)
    stem = f"reproduce-{args.figure}" + ("-full" if args.full else "")
    check_writable(args.out / stem, [stem + end for end in ENDS])
    parts = args.out / f"{stem}-parts"
    reproduction = Reproduction(args.figure, args.full, args.data_dir, parts)
    try:
        with bar(args.quiet) as show:
            curves = reproduction.run(chosen_seeds(args), show)
    except KeyboardInterrupt:
        return interrupted(f"the same command goes on from {parts}")
    finish(paper_report(args.figure, curves, args.full), args.out, stem)
    reproduction.clear()
    return 0


def _describe_figures() -> str:
    return "figures:\n" + "".join(
        f"  {name}: {', '.join(sorted({panel.data for panel in panels}))}\n"
        f"    {sizes(name, False)}\n    with --full: {sizes(name, True)}\n"
        for name, panels in FIGURES.items()
    )


REPRODUCE = Command(
    name="reproduce",
    summary="run the experiments behind a figure of the Adam paper",
    details=": every optimiser at every\n"
    "learning rate of a grid, from the same start on the same batches. Print each at its best\n"
    "rate, and which of the paper's claims are borne out, by 95 % intervals over the seeds; write\n"
    "the figure, every run (CSV) and a page of them (HTML). What was stopped goes on where it was.",
    examples="""\
  adam-optax reproduce figure4 --data-dir data
  adam-optax reproduce figure3 --data-dir data/cifar-10-batches-bin --full
""",
    epilog=_describe_figures,
    add_arguments=_add_arguments,
    run=_run,
)
