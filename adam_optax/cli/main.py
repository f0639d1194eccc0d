"""Run the command line: parse it, run the chosen command, and turn errors into exit codes."""

import io
import sys
from collections.abc import Sequence

from adam_optax._core.extras import MissingExtraError
from adam_optax.aot.model import ModelError
from adam_optax.cli.arguments import describe_problems
from adam_optax.cli.compare import COMPARE, TRAIN
from adam_optax.cli.compile_report import COMPILE_REPORT
from adam_optax.cli.console import INTERRUPTED, fail
from adam_optax.cli.convert import CONVERT
from adam_optax.cli.parser import parse
from adam_optax.cli.reproduce import REPRODUCE
from adam_optax.cli.studies import SUGGEST, SWEEP, WATCH
from adam_optax.convert import ConversionError
from adam_optax.lab.errors import LabError

COMMANDS = (COMPARE, TRAIN, SWEEP, SUGGEST, WATCH, REPRODUCE, CONVERT, COMPILE_REPORT)
"""The commands, in the order in which the help lists them."""
_BAD_INPUT, _BROKEN_PIPE = 2, 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments; `None`: those of the process.

    Returns:
        0 if all went well, 2 for bad input (one line on stderr says what is wrong), 130 for
        Ctrl-C, 1 if the reader of the output stopped reading.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # the table has a ±, the terminal may not
    try:
        args = parse(argv, COMMANDS, describe_problems)
        code: int = args.run(args)
    except (LabError, ConversionError, ModelError, MissingExtraError) as error:
        return fail(f"error: {error}", _BAD_INPUT)
    except KeyboardInterrupt:
        return fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        return _BROKEN_PIPE
    except OSError as error:  # of a file that no reader or writer of ours describes better
        what = "" if error.filename is None else f"{error.filename}: "
        return fail(f"error: {what}{error.strerror or error}", _BAD_INPUT)
    except MemoryError:
        return fail("error: not enough memory for this", _BAD_INPUT)
    return code
