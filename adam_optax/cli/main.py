"""Run the command line: parse it, run the chosen command, and turn errors into exit codes."""

import difflib
import importlib
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from click.exceptions import Exit
from rich.text import Text
from rich_click import (
    ClickException,
    Command,
    Context,
    RichContext,
    RichGroup,
    RichHelpFormatter,
    UsageError,
    version_option,
)

from adam_optax import __version__
from adam_optax._core.extras import MissingExtraError
from adam_optax.cli.console import BAD_INPUT, BROKEN_PIPE, INTERRUPTED, fail
from adam_optax.cli.interrupts import answered

COMMANDS = {
    "compare": "compare:COMPARE",
    "train": "compare:TRAIN",
    "sweep": "studies:SWEEP",
    "suggest": "studies:SUGGEST",
    "watch": "studies:WATCH",
    "reproduce": "reproduce:REPRODUCE",
    "conventions": "conventions:CONVENTIONS",
    "convert": "convert:CONVERT",
    "compile-report": "compile_report:COMPILE_REPORT",
}
"""Modules of the commands, in the order in which the help lists them; one is imported to be run."""
_EXAMPLES = """\
examples:
  adam-optax compare digits
  adam-optax train digits --optimizer nadam --learning-rate 3e-3
  adam-optax suggest digits
  adam-optax convert optimizer.pt --names names.json --out state.safetensors
  adam-optax COMMAND --help: arguments, problems and optimisers of a command
"""


def command(name: str) -> Command:
    """Import a command's module, and return the command."""
    module, _, constant = COMMANDS[name].partition(":")
    found: Command = getattr(importlib.import_module(f"adam_optax.cli.{module}"), constant)
    return found


class _Commands(RichGroup):
    """Import a command's module when the command is asked for."""

    def list_commands(self, ctx: Context) -> list[str]:
        """Return the names of the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """Return a command by name; None if there is none."""
        return command(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(
        self, ctx: Context, args: list[str]
    ) -> tuple[str | None, Command | None, list[str]]:
        """Find the command that the first argument names; a near miss is answered with the name."""
        if args[0] not in COMMANDS:
            close = difflib.get_close_matches(args[0].lower(), COMMANDS, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise UsageError(f"No such command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_epilog(self, ctx: RichContext, formatter: RichHelpFormatter) -> None:  # type: ignore[override]
        """Write the examples, line by line as they are."""
        formatter.write(Text(_EXAMPLES))


@version_option(__version__, prog_name="adam-optax")
def _nothing() -> None:
    """Do nothing before the command."""


GROUP = _Commands(
    name="adam-optax",
    help="Compare optimisers of the Adam family on real data, and convert their states.",
    params=_nothing.__click_params__,  # type: ignore[attr-defined]
)
"""All commands."""


def run() -> NoReturn:
    """Run the command line of this process, and end the process with its exit code."""
    with answered() as interrupts:
        code = main()
    interrupts.leave(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments; `None`: those of the process.

    Returns:
        0 if all went well, 2 for bad input (one line on stderr says what is wrong), 3 if every run
        diverged, 130 for Ctrl-C, 1 if the reader of the output stopped reading.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # the table has a ±, the terminal may not
    try:
        code = _invoke(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except (ClickException, MissingExtraError) as error:
        return fail(f"error: {_message(error)}", BAD_INPUT)
    except KeyboardInterrupt:
        return fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        _give_stdout_up()
        return BROKEN_PIPE
    except OSError as error:  # of a file that no reader or writer of ours describes better
        _give_stdout_up()
        what = "" if error.filename is None else f"{error.filename}: "
        return fail(f"error: {what}{error.strerror or error}", BAD_INPUT)
    except MemoryError:
        return fail("error: not enough memory for this", BAD_INPUT)
    return code


def _invoke(arguments: list[str]) -> int:
    """Parse the command line, run the command and return its exit code."""
    for argument in arguments:
        if "\0" in argument:  # no path may have one, and Python's error would name none
            raise ClickException(f"argument {argument!r} has a null byte; leave it out")
    try:
        with GROUP.make_context("adam-optax", arguments or ["--help"]) as context:
            code: int = GROUP.invoke(context)
    except Exit as stopped:  # of --help and --version
        return int(stopped.exit_code)
    return code


def _message(error: Exception) -> str:
    """Return what is wrong; of the command line itself, with the help that says what is right."""
    if not isinstance(error, ClickException):
        return str(error)
    said = error.format_message()
    if isinstance(error, UsageError):
        path = "adam-optax" if error.ctx is None else error.ctx.command_path
        return f"{said.rstrip('.')}; see {path} --help"
    return said


def _give_stdout_up() -> None:
    """Send what a broken stdout still holds nowhere: Python's exit would fail on it again."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
        return
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
