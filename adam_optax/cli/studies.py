"""Run the commands `adam-optax sweep`, `suggest` and `watch`."""

from contextlib import AbstractContextManager
from typing import Any

from adam_optax.cli import parameter_types as types
from adam_optax.cli.commands import Arguments, Command, option
from adam_optax.cli.console import (
    DIVERGED,
    announce_code,
    check_lab_extra,
    fail,
    finish,
    interrupted,
    say,
)
from adam_optax.cli.options import (
    TRAINING_DETAILS,
    executor_options,
    optimizer_option,
    result_options,
    seed_option,
    seeds_options,
    training_epilog,
    training_options,
)
from adam_optax.cli.progress import progress
from adam_optax.cli.run_folder import RunFolder, run_folder
from adam_optax.cli.workers import sent, stages, workers
from adam_optax.lab import Optimizer, Problem, observe, suggest, sweep
from adam_optax.lab._problems.builtin import find_problem
from adam_optax.lab.errors import Interrupted, LabError
from adam_optax.lab.grid import LEARNING_RATE
from adam_optax.lab.halving import rungs
from adam_optax.lab.reports.studies import ENDS, suggestion_report, sweep_report, watch_report
from adam_optax.lab.storage_formats import file_name, with_storage
from adam_optax.lab.suggestion import check_confirmation_seeds
from adam_optax.lab.tuning import learning_rates


def _sweep(args: Arguments) -> int:
    """Train every setting with every seed."""
    problem, optimizers, stem = _prepare(args)
    settings = _settings(args) or {LEARNING_RATE: learning_rates(problem, optimizers[0])}
    with (
        _folder(args, stem) as folder,
        progress(args.quiet, stages(args, {"compiling": 1, "training": 1, "drawing": 1})) as shown,
        workers(args, shown) as elsewhere,
    ):

        def on_progress(done: int, planned: int) -> None:
            shown.plan("training", planned)
            shown.advance("training", done)

        found = sweep(
            sent(args, problem),
            optimizers,
            settings,
            range(args.seed, args.seed + args.seeds),
            parallel=args.parallel,
            parts=folder.parts,
            on_progress=on_progress,
            on_stage=shown.stage,
            **elsewhere,
            **_budget(args),
        )
        if not found.points:
            return interrupted(f"before a run was finished; {folder.to_go_on()}")
        if found.interrupted:
            say(_WRITING)
        shown.stage("drawing", "figures")
        finish(sweep_report(found), folder.results, stem, shown)
        if found.interrupted:
            done = f"results are of {len(found.points)} of {found.planned} runs"
            return interrupted(f"{done}; {folder.to_go_on()}")
        folder.finish()
    if all(row["diverged"] for row in found.rows()):
        return fail("every run diverged; try lower learning rates", DIVERGED)
    return 0


def _settings(args: Arguments) -> dict[str, list[float]]:
    """Return the values by hyper-parameter, and refuse two lists of one."""
    names = [name for name, _ in args.settings]
    if twice := [name for name in names if names.count(name) > 1]:
        raise LabError(f"--set {twice[0]} is there twice; give its values in one, x,y,...")
    return dict(args.settings)


def _suggest(args: Arguments) -> int:
    """Search for hyper-parameters."""
    problem, optimizers, stem = _prepare(args)
    epochs = args.epochs or problem.epochs
    seeds = range(args.seed, args.seed + args.seeds)
    check_confirmation_seeds(seeds)  # before workers are started
    with (
        _folder(args, stem) as folder,
        progress(
            args.quiet,
            stages(args, {"compiling": _programs(epochs), "training": 1, "drawing": 1}),
        ) as shown,
        workers(args, shown) as elsewhere,
    ):

        def on_progress(done: int, planned: int) -> None:
            shown.plan("training", planned)
            shown.advance("training", done)

        try:
            found = suggest(
                sent(args, problem),
                optimizers[0],
                seeds,
                parts=folder.parts,
                on_progress=on_progress,
                on_stage=shown.stage,
                on_note=None if args.quiet else say,
                **elsewhere,
                **_budget(args),
            )
        except KeyboardInterrupt:
            return interrupted(f"nothing is suggested; {folder.to_go_on()}")
        shown.stage("drawing", "figures")
        finish(suggestion_report(found), folder.results, stem, shown)
        folder.finish()
    return 0


def _programs(epochs: int) -> int:
    """Return the number of programs of a search: of each length of runs, and of a watched run."""
    return len({rung.epochs for rung in rungs(epochs)}) + 1


def _watch(args: Arguments) -> int:
    """Train a watched optimiser."""
    problem, optimizers, stem = _prepare(args)
    epochs = args.epochs or problem.epochs
    with (
        _folder(args, stem) as folder,
        progress(args.quiet, {"compiling": 1, "training": epochs, "drawing": 1}) as shown,
    ):
        stopped = False
        try:
            found = observe(
                problem,
                optimizers[0],
                args.seed,
                learning_rate=args.learning_rate,
                parts=folder.parts,
                on_epoch=lambda epoch: shown.advance("training", epoch.epoch),
                on_stage=shown.stage,
                **_budget(args),
            )
        except Interrupted as error:
            found, stopped = error.partial, True
            say(_WRITING)
        except KeyboardInterrupt:
            return interrupted(f"before an epoch was finished; {folder.to_go_on()}")
        shown.stage("drawing", "figures")
        finish(watch_report(found), folder.results, stem, shown)
        if stopped:
            done = len(found.run.train_loss)
            return interrupted(f"results are of {done} of {epochs} epochs; {folder.to_go_on()}")
        folder.finish()
    if found.run.diverged:
        return fail("every run diverged; try lower learning rates", DIVERGED)
    return 0


_WRITING = "interrupted: writing what is finished; Ctrl-C again leaves without"


def _prepare(args: Arguments) -> tuple[Problem, list[Optimizer], str]:
    """Find the problem and the optimisers.

    Returns:
        The problem, the optimisers, and the beginning of the names of the results' files.
    """
    check_lab_extra(args.command)
    announce_code(args.problem)
    problem = find_problem(args.problem)
    optimizers = [with_storage(name, args.storage) for name in args.optimizers]
    label = "-".join(file_name(optimizer.name) for optimizer in optimizers)
    return problem, optimizers, f"{args.command}-{file_name(problem.name)}-{label}"


def _folder(args: Arguments, stem: str) -> AbstractContextManager[RunFolder]:
    return run_folder(args, stem, [stem + end for end in ENDS])


def _budget(args: Arguments) -> dict[str, Any]:
    return {"epochs": args.epochs, "batch_size": args.batch_size, "data_dir": args.data_dir}


SWEEP = Command(
    "sweep",
    "train every setting of hyper-parameters, with several seeds",
    TRAINING_DETAILS,
    [
        *training_options(rate=False),
        optimizer_option(several=True),
        option(
            "--set",
            "settings",
            type=types.setting,
            multiple=True,
            metavar="NAME=...",
            help="values of a hyper-parameter, x,y,... or low:high:count in equal ratios; may be "
            "given for several [learning rates around the problem's]",
        ),
        option(
            "--parallel", type=types.count, metavar="N", help="runs vmapped at a time [see below]"
        ),
        *seeds_options(),
        *executor_options(),
        *result_options(),
    ],
    _sweep,
    examples="""\
  adam-optax sweep digits
  adam-optax sweep digits --set learning_rate=1e-3:1e-1:7 --set b1=0.5,0.9 --seeds 2
  adam-optax sweep digits --optimizer adam,nadam,yogi
""",
    epilog=lambda: (
        "one run at a time by default on a CPU, elsewhere as many as should fit into the memory\n\n"
        + training_epilog()
    ),
    refusals=(LabError,),
    elsewhere={"--learning-rate": "--set learning_rate=X", "--lr": "--set learning_rate=X"},
)
SUGGEST = Command(
    "suggest",
    "find a better learning rate, betas and epsilon, or keep the default",
    TRAINING_DETAILS,
    [
        *training_options(rate=False),
        optimizer_option(),
        *seeds_options(10),
        *executor_options(),
        *result_options(),
    ],
    _suggest,
    examples="""\
  adam-optax suggest digits
  adam-optax suggest mnist --data-dir data/mnist --optimizer nadam
""",
    epilog=training_epilog,
    refusals=(LabError,),
    elsewhere=dict.fromkeys(
        ("--learning-rate", "--lr", "--set"), "sweep --set learning_rate=X, to try values of yours"
    ),
)
WATCH = Command(
    "watch",
    "train, and record what the optimiser does to each layer",
    TRAINING_DETAILS,
    [
        *training_options(rate=True),
        optimizer_option(),
        seed_option(),
        *result_options(),
    ],
    _watch,
    examples="""\
  adam-optax watch digits
  adam-optax watch digits --storage pair --learning-rate 3e-2
""",
    epilog=training_epilog,
    refusals=(LabError,),
)
