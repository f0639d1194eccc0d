"""Run the command `adam-optax reproduce`."""

from rich_click import Choice

from adam_optax.cli import parameter_types as types
from adam_optax.cli.commands import Arguments, Command, argument, option
from adam_optax.cli.console import DIVERGED, check_lab_extra, fail, finish, interrupted
from adam_optax.cli.options import FOLDERS_HELP, result_options, seeds_options
from adam_optax.cli.progress import progress
from adam_optax.cli.run_folder import run_folder
from adam_optax.lab.errors import LabError
from adam_optax.lab.paper.figures import FIGURES
from adam_optax.lab.paper.report import paper_report, sizes
from adam_optax.lab.paper.run import Reproduction
from adam_optax.lab.paper.trials import diverged
from adam_optax.lab.reports.studies import ENDS


def _run(args: Arguments) -> int:
    check_lab_extra(args.command)
    stem = f"reproduce-{args.figure}" + ("-full" if args.full else "")
    names = [stem + end for end in ENDS]
    seeds = range(args.seed, args.seed + args.seeds + 1)
    with (
        run_folder(args, stem, names) as folder,
        progress(args.quiet, {"compiling": 1, "training": 1, "drawing": 1}) as shown,
    ):

        def on_progress(done: int, planned: int) -> None:
            shown.plan("training", planned)
            shown.advance("training", done)

        reproduction = Reproduction(args.figure, args.full, args.data_dir, folder.parts)
        shown.plan("compiling", len(reproduction.contenders()))
        try:
            curves = reproduction.run(seeds, on_progress, shown.stage)
        except KeyboardInterrupt:
            return interrupted(folder.to_go_on())
        shown.stage("drawing", "figures")
        finish(paper_report(args.figure, curves, args.full), folder.results, stem, shown)
        folder.finish()
    if diverged(curves):
        return fail("every run diverged", DIVERGED)
    return 0


def _describe_figures() -> str:
    return "figures:\n" + "".join(
        f"  {name}: {', '.join(sorted({panel.data for panel in panels}))}\n"
        f"    {sizes(name, False)}\n    with --full: {sizes(name, True)}\n"
        for name, panels in FIGURES.items()
    )


REPRODUCE = Command(
    "reproduce",
    "run the experiments behind a figure of the Adam paper",
    ": every optimiser at every learning rate of a grid, from the same start on the same batches, "
    "then with more seeds at the best rate. Print each at its best rate, and which of the paper's "
    "claims are borne out, by 95 % intervals over these seeds; write the figure, every run (CSV) "
    "and a page of them (HTML).",
    [
        argument("figure", ", ".join(FIGURES), type=Choice(list(FIGURES))),
        option(
            "--data-dir",
            type=types.path,
            metavar="DIR",
            required=True,
            help="where the data files are: in a folder of the data's name in it, or in it",
        ),
        option("--full", is_flag=True, help="at the paper's size: days on a CPU (see below)"),
        *seeds_options(
            text="judge with N seeds, at the rates that another seed has chosen [3]",
            first="the seed that chooses the rates, before the others [0]",
        ),
        *result_options(),
    ],
    _run,
    examples="""\
  adam-optax reproduce figure4 --data-dir data
  adam-optax reproduce figure3 --data-dir data/cifar-10-batches-bin --full
""",
    epilog=lambda: f"{_describe_figures()}\n{FOLDERS_HELP}",
    refusals=(LabError,),
)
