"""Call a user's own function, which is named `module:function` on the command line.

The code of the module is run, with all that the user may do.
"""

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


class UserCodeError(ValueError):
    """Report that a user's code could not be found, or raised; the message is in one line."""


@contextlib.contextmanager
def user_function(name: str) -> Iterator[Callable[[], Any]]:
    """Import a module and yield its function; what the module or the body raises is reported.

    The current directory is searched after everything else on the path, so that no file in the
    directory takes the place of an installed module.

    Args:
        name: `module:function`.

    Raises:
        UserCodeError: If the name is no such pair, there is no such function, or code of the user's
            raised anything but a `KeyboardInterrupt`, `sys.exit()` among others.
    """
    module, colon, function = name.partition(":")
    if not (colon and module and function):
        raise UserCodeError("expected module:function, such as my_model:init_params")
    with _current_directory():
        try:
            yield getattr(importlib.import_module(module), function)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            raise UserCodeError(describe(error)) from error


def source_of(name: str) -> str | None:
    """Return the place from which `module:function` would be imported; None if there is none.

    No code is run: of a module in a package, the place is that of the outermost package.
    """
    top = name.partition(":")[0].partition(".")[0]
    with _current_directory():
        try:
            spec = importlib.util.find_spec(top) if top else None
        except (ImportError, ValueError, OSError):
            return None
    if spec is None:
        return None
    return spec.origin or ", ".join(spec.submodule_search_locations or ["memory"])


def describe(error: BaseException) -> str:
    """Describe an error in one line: the name of its type, and what it says."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # an error of the user's own may fail even at that
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextlib.contextmanager
def _current_directory() -> Iterator[None]:
    """Let modules be imported from the current directory, too, after all other places.

    `python -m adam_optax.cli` has the directory in the first place, which it leaves meanwhile; on
    Python's `PYTHONPATH`, it stays where the user put it.
    """
    here = str(Path.cwd())
    first = sys.path.pop(0) if sys.path[:1] in ([""], [here]) else None
    if added := here not in sys.path:
        sys.path.append(here)
    importlib.invalidate_caches()  # a file that was written just now would be missed
    try:
        yield
    finally:
        if added and here in sys.path:
            sys.path.remove(here)
        if first is not None:
            sys.path.insert(0, first)
