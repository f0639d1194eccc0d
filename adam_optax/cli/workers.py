"""Have the parts of a command's work done on the engine that `--on` names."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from adam_optax.cli.commands import Arguments
from adam_optax.cli.console import announce_code
from adam_optax.cli.progress import Shown
from adam_optax.lab import Problem, open_executor
from adam_optax.lab.errors import LabError
from adam_optax.lab.pool import RETRIES


@contextmanager
def workers(args: Arguments, shown: Shown) -> Iterator[dict[str, Any]]:
    """Yield what `compare`, `sweep` and `suggest` are told of an executor; nothing without `--on`.

    Args:
        args: The arguments of the command.
        shown: The progress that is shown.

    Raises:
        LabError: If the engine is not installed or does not answer, or there is no `--on` for
            `--retries`.
    """
    on, retries = getattr(args, "on", None), getattr(args, "retries", None)
    if on is None:
        if retries is not None:
            raise LabError("--retries is for workers that die; write --on, too, or leave it out")
        yield {}
        return
    if "://" not in on:
        announce_code(on)
    often = RETRIES if retries is None else retries
    shown.stage("connecting to", on)
    with open_executor(on, often) as executor:
        yield {"executor": executor, "retries": often}


def sent(args: Arguments, problem: Problem) -> str | Problem:
    """Return the problem as it is sent to workers: by its name, under which they find it."""
    name: str = args.problem
    return problem if getattr(args, "on", None) is None else name


def stages(args: Arguments, planned: Mapping[str, float]) -> dict[str, float]:
    """Return the stages of this process, which with `--on` compiles nothing."""
    elsewhere = getattr(args, "on", None) is not None
    return {k: v for k, v in planned.items() if not (elsewhere and k == "compiling")}
