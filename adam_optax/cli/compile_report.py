"""Run the command `adam-optax compile-report`: compile an optimiser's step on a user's model."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from adam_optax._core.numerics import number_dtype
from adam_optax._wrappers.memory import format_bytes
from adam_optax.aot import model, targets
from adam_optax.aot.compiled import Compiled, compile_step, compile_update
from adam_optax.cli import parameter_types as types
from adam_optax.cli.commands import Arguments, Command, option
from adam_optax.cli.console import announce_code
from adam_optax.cli.options import CODE_HELP
from adam_optax.lab.errors import LabError, first_line
from adam_optax.lab.optimizers import find_factory
from adam_optax.lab.storage_formats import STORAGE_EXAMPLES, parse_storage

_COLUMNS = (
    "columns: bytes moved a parameter, to and from memory (XLA's sizes of what each kernel reads "
    "and writes; 28 is the least for Adam in float32); kernels, of so many leaves; what is updated "
    "in place; scratch memory; time to compile. Nothing is run, and no accelerator need be there. "
    "Of a --step, all bytes are counted, and the last lines say which donated arrays are "
    "overwritten by results that are not their own, which of them XLA copies for it, and what to "
    "write instead.\n"
)


def _run(args: Arguments) -> int:
    """Compile the step for each target, and print a table of the facts.

    Raises:
        LabError: If an argument does not fit, or a compiler is missing.
        ModelError: If the model cannot be read.
    """
    names = _targets(args.target)
    _check_whose(args)
    is_own = args.step is not None
    compile_for, shapes = _own_step(args) if is_own else _update(args)
    found = {name: _compile(name, compile_for) for name in names}
    print(_table(shapes, found, is_own), flush=True)
    for name, one in found.items():
        if one.donation is not None and (is_own or one.donation.crossed):
            print(f"{name}, {one.donation}", flush=True)
    return 0


def _check_whose(args: Arguments) -> None:
    """Refuse all but one of `--params`, `--step` and `--checkpoint`."""
    names = ("params", "step", "checkpoint")
    given = [f"--{name}" for name in names if getattr(args, name) is not None]
    if len(given) != 1:
        found = f"{' and '.join(given)} are there" if given else "none is there"
        raise LabError(f"give one of --params, --step and --checkpoint; {found}")


def _update(args: Arguments) -> tuple[Callable[[str], Compiled], optax.Params]:
    """Return what compiles an optimiser's step for a target, and the parameters."""
    tx = _optimizer(args.optimizer or "adamw", args.storage)
    dtype = _dtype(args.dtype)
    _use_cpu()
    params = model.cast(_params(args), dtype)
    return lambda target: compile_update(target, tx, params), params


def _own_step(args: Arguments) -> tuple[Callable[[str], Compiled], tuple[Any, ...]]:
    """Return what compiles the user's step for a target, and the step's arguments."""
    for name in ("optimizer", "storage", "dtype", "key"):
        if getattr(args, name) is not None:
            raise LabError(f"--{name} does not go with --step; leave it out")
    _use_cpu()
    announce_code(args.step)
    step, arguments = model.step_from_function(args.step)
    return lambda target: compile_step(target, step, arguments, parameters=1), arguments


def _use_cpu() -> None:
    if "JAX_PLATFORMS" not in os.environ:  # accelerators are compiled for, not used
        jax.config.update("jax_platforms", "cpu")


def _table(shapes: optax.Params, found: dict[str, Compiled], is_own: bool) -> str:
    """Format a line for each target, below a line about the model or the step's arguments."""
    leaves, bytes_moved = len(jax.tree.leaves(shapes)), "moved" if is_own else "B/parameter"
    rows = [("target", bytes_moved, "kernels", "in place", "scratch", "compiled in")]
    for name, one in found.items():
        # An output that is no parameter or moment, a tuple's pointers, takes a few bytes.
        place = "all" if one.copied <= 1024 + 16 * leaves else f"all but {format_bytes(one.copied)}"
        seconds = f"{one.seconds:.1f} s"
        moved = format_bytes(round(one.moved)) if is_own else f"{one.moved:.2f}"
        scratch = format_bytes(one.scratch)
        rows.append((name, moved, str(one.kernels), place, scratch, seconds))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    head = f"{model.count(shapes):,} parameters in {leaves:,} leaves"
    if is_own:
        head = f"a step of {leaves:,} arrays"
    return "\n".join([head, *(_line(row, widths) for row in rows)])


def _optimizer(name: str, storage: str | None) -> optax.GradientTransformation:
    """Build an optimiser by name, with its moments in a format.

    Raises:
        LabError: If no optimiser has that name, or the optimiser does not take the format.
    """
    make, options = find_factory(name), {}
    if storage is not None:
        if name.startswith("optax."):
            raise LabError(f"--storage is for our optimisers; {name} has none")
        options["storage"] = parse_storage(storage)
    try:
        return make(learning_rate=1e-3, **options)
    except (TypeError, ValueError) as error:
        raise LabError(f"optimiser {name!r} cannot be used here: {error}") from error


def _targets(text: str) -> Sequence[str]:
    names = [name.strip().lower() for name in text.split(",")]
    for name in names:
        if name not in targets.TARGETS:
            raise LabError(f"--target {name!r} is none of {', '.join(targets.TARGETS)}")
    return list(dict.fromkeys(names))


def _dtype(name: str | None) -> jnp.dtype | None:
    dtype = None if name is None else number_dtype(name)
    if dtype is None and name is not None:
        raise LabError(f"--dtype {name!r} is no dtype of parameters, such as bfloat16")
    return dtype


def _params(args: Arguments) -> optax.Params:
    if args.params is None:
        return model.from_checkpoint(args.checkpoint, args.key)
    if args.key is not None:
        raise LabError("--key goes with --checkpoint; leave it out")
    announce_code(args.params)
    return model.from_function(args.params)


def _compile(target: str, compile_for: Callable[[str], Compiled]) -> Compiled:
    try:
        return compile_for(target)
    except ModuleNotFoundError as error:
        raise LabError(str(error)) from error
    except (
        Exception
    ) as error:  # the compiler's error, or that of an optimiser or of the user's step
        raise LabError(f"{target}: {first_line(error)}") from error


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.ljust(w) if i == 0 else cell.rjust(w)
        for i, (cell, w) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join([first, *rest])


COMPILE_REPORT = Command(
    "compile-report",
    "compile an optimiser's step for accelerators that need not be there",
    ", and print what it does to memory.",
    [
        option(
            "--target",
            metavar="A,B,...",
            required=True,
            help=f"of {', '.join(targets.TARGETS)}",
        ),
        option(
            "--params",
            metavar="MODULE:FUNCTION",
            help="which returns a tree of arrays or shapes; its code is run (see below)",
        ),
        option(
            "--step",
            metavar="MODULE:FUNCTION",
            help="which returns a training step under jax.jit and a tuple of its arguments",
        ),
        option(
            "--checkpoint",
            type=types.path,
            metavar="DIR",
            help="of orbax; only shapes are read",
        ),
        option("--key", metavar="KEY", help="where in a checkpoint the parameters are"),
        option(
            "--optimizer",
            "--optimizers",
            "optimizer",
            metavar="A",
            help="such as adamw or optax.lion [adamw]",
        ),
        option("--storage", metavar="S", help=f"of moments: {STORAGE_EXAMPLES}"),
        option("--dtype", metavar="DTYPE", help="of the parameters [their own]"),
    ],
    _run,
    examples="""\
  adam-optax compile-report --target h100,v5e --params my_model:init_params
  adam-optax compile-report --target v6e --checkpoint runs/10/default --key params \\
    --optimizer lion --storage stochastic --dtype bfloat16
  adam-optax compile-report --target h100,cpu --step my_model:training_step
""",
    epilog=lambda: f"{_COLUMNS}\n{CODE_HELP}",
    refusals=(LabError, model.ModelError),
)
