"""Define the options that several commands share: one name for one thing in all commands."""

from pathlib import Path

from rich_click import Parameter

from adam_optax.cli import parameter_types as types
from adam_optax.cli.commands import argument, option
from adam_optax.lab import problems
from adam_optax.lab.engines import ENGINES
from adam_optax.lab.optimizers import PRESETS, optimizer_names
from adam_optax.lab.pool import RETRIES
from adam_optax.lab.storage_formats import STORAGE_EXAMPLES

TRAINING_DETAILS = "; print a table, write figures, CSV files and a page of them (HTML)."
"""The rest of the description of a command that trains (see `Command`)."""
RESULTS = Path("adam-optax-results")
"""Where results go by default."""
CODE_HELP = (
    "  module:function is your own: the module is imported from where Python finds modules or, if "
    "it is not there, from the current directory. Its code is run; name no module that you do not "
    "trust.\n"
)
"""Help text about arguments that name code."""
FOLDERS_HELP = (
    "results:\n"
    "  every run has a folder of its own in --out, NAME-DATE-TIME, and latest leads to the newest "
    "that was finished. A run that was stopped, by Ctrl-C or by force, keeps what is finished in "
    "NAME-DATE-TIME-parts; the same command with --resume goes on from there, to the same "
    "numbers.\n\n"
    "exit codes:\n"
    "  0 done; 1 the reader of the output stopped reading; 2 refused, one line says why; 3 every "
    "run diverged; 130 stopped by Ctrl-C\n"
)
"""Help text about where results go, and how a command ends."""

EPOCHS_HELP = "passes over the training set [the problem's]"


def training_options(rate: bool, epochs: str = EPOCHS_HELP) -> list[Parameter]:
    """Define the problem, the budget, the data, the storage format and where results go.

    Args:
        rate: Whether the command takes one learning rate for all runs.
        epochs: Help text of `--epochs`.
    """
    known = f"{', '.join(problems)}, or module:function, whose code is run (see below)"
    found = [
        argument("problem", known),
        option("--epochs", type=types.count, metavar="N", help=epochs),
        option(
            "--batch-size", type=types.count, metavar="N", help="examples per step [the problem's]"
        ),
    ]
    if rate:
        text = "one learning rate for all [see below]"
        found.append(option("--learning-rate", type=types.rate, metavar="X", help=text))
    data = "where the data files are, for all problems but digits"
    return [
        *found,
        option("--data-dir", type=types.path, metavar="DIR", help=data),
        option("--storage", metavar="S", help=f"of moments: {STORAGE_EXAMPLES}"),
    ]


def result_options() -> list[Parameter]:
    """Define where results go, whether to go on from what was stopped, and whether to be quiet."""
    out = f"where the folder of results goes [{RESULTS}]"
    go_on = "go on from the newest run of this command line that was stopped"
    return [
        option("--out", type=types.path, metavar="DIR", default=RESULTS, help=out),
        option("--resume", is_flag=True, help=go_on),
        option("--quiet", is_flag=True, help="show no progress"),
    ]


def executor_options() -> list[Parameter]:
    """Define the engine that does the parts of the work, and how often it tries each."""
    where = f"do the parts on an engine: {ENGINES} [none: this process]"
    often = f"with --on: run a part whose worker died again, at most N times [{RETRIES}]"
    return [
        option("--on", type=types.engine, metavar="ENGINE", help=where),
        option("--retries", type=types.seed, metavar="N", help=often),
    ]


def optimizer_option(several: bool = False, default: tuple[str, ...] = ("adam",)) -> Parameter:
    """Define the option that names one optimiser or several; it is parsed to a list of names.

    Args:
        several: Whether the command takes several optimisers.
        default: The optimisers if none is named.
    """
    text = "one or several" if several else "one"
    return option(
        "--optimizer",
        "--optimizers",
        "optimizers",
        type=types.names if several else types.name,
        default=",".join(default),
        metavar="A,B,..." if several else "A",
        help=f"{text}, named as below [{', '.join(default)}]",
    )


def seed_option(text: str = "of the initial parameters and the batches [0]") -> Parameter:
    """Define the option that chooses the seed, or the first of several."""
    return option("--seed", type=types.seed, default=0, metavar="N", help=text)


def seeds_options(
    count: int = 3, text: str = "", first: str = "the first of the seeds [0]"
) -> list[Parameter]:
    """Define the options that choose the number of seeds, and the first of them.

    Args:
        count: Default number of seeds.
        text: Help text of the number; by default that all runs are trained with so many.
        first: Help text of the first seed.
    """
    text = text or f"train with N seeds [{count}]"
    found = option("--seeds", type=types.count, default=count, metavar="N", help=text)
    return [found, seed_option(first)]


def training_epilog() -> str:
    """Return the help text about problems, optimisers and results."""
    return f"{describe_problems()}{CODE_HELP}\n{_describe_optimizers()}\n{FOLDERS_HELP}"


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
        f"optimisers:\n  {', '.join(optimizer_names())}\n"
        "  and optax's, with optax. before the name: optax.adam\n\n"
        f"default learning rates: the problem's, except\n{factors}"
    )
