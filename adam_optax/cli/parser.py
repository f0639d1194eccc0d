"""Parse the command line: build the parser of the chosen command, and report errors in one line."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from adam_optax.lab.errors import LabError

_DESCRIPTION = "Compare optimisers of the Adam family on real data, and convert their states."


@dataclass(frozen=True)
class Command:
    """Describe a command of `adam-optax`.

    Attributes:
        name: Name of the command.
        summary: Its line in the list of commands, in lower case.
        details: The rest of its description, which follows the summary in the command's own help.
        examples: Lines that show how to call the command.
        epilog: Returns the help text below the examples.
        add_arguments: Adds the command's arguments to a parser.
        run: Runs the command with the parsed arguments, and returns the exit code.
    """

    name: str
    summary: str
    details: str
    examples: str
    epilog: Callable[[], str]
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def parse(
    argv: Sequence[str] | None, commands: Sequence[Command], epilog: Callable[[], str]
) -> argparse.Namespace:
    """Parse the command line.

    If the first argument names a command, only that command's parser and help text are built.

    Args:
        argv: The arguments; `None`: those of the process.
        commands: The commands.
        epilog: Returns the help text below the examples of all commands.

    Returns:
        The arguments of the command; `run` is the command's function.

    Raises:
        LabError: If an argument is unknown, missing or out of range.
    """
    arguments = sys.argv[1:] if argv is None else argv
    for argument in arguments:
        if "\0" in argument:  # no path may have one, and Python's error would name none
            raise LabError(f"argument {argument!r} has a null byte; leave it out")
    chosen = [command for command in commands if arguments[:1] and command.name == arguments[0]]
    parser = _Parser(
        prog="adam-optax",
        description=_DESCRIPTION,
        epilog="" if chosen else _examples(commands, epilog()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in chosen or commands:
        subparser = subparsers.add_parser(
            command.name,
            help=command.summary,
            description=f"{command.summary[0].upper()}{command.summary[1:]}{command.details}",
            epilog=_examples([command], command.epilog()),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser.parse_args(arguments)


def _examples(commands: Sequence[Command], epilog: str) -> str:
    return f"examples:\n{''.join(command.examples for command in commands)}\n{epilog}"


class _Parser(argparse.ArgumentParser):
    """Raise an error where argparse would print the usage, so that an error is one line."""

    def error(self, message: str) -> NoReturn:
        """Raise a `LabError` that names the command whose help explains the arguments."""
        raise LabError(f"{message}; see {self.prog} --help")
