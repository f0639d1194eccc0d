"""Read storage formats from text, for the command line."""

import dataclasses
import re
from functools import partial
from typing import Any

from adam_optax import storage as formats
from adam_optax._core.calls import parse_call
from adam_optax.lab.errors import LabError
from adam_optax.lab.optimizers import Optimizer, check_runs, resolve

FORMATS = ("dense", "stochastic", "pair", "float8", "int8", "int4")
"""Names of the formats of `adam_optax.storage` that can be chosen by text."""
STORAGE_EXAMPLES = (
    "stochastic, pair, 'pair(3)', 'pair(block=128)', float8, int8, int4, 'dense(\"bfloat16\")'"
)
"""Examples for a help text."""


def with_storage(optimizer: str | Optimizer, text: str | None) -> Optimizer:
    """Find an optimiser, and let it store its moments in a format.

    Args:
        optimizer: A name, or an `Optimizer`.
        text: The format, `pair(3)` say; `None`: the optimiser's own default.

    Raises:
        LabError: If there is no such format, or the optimiser does not take it.
    """
    found = resolve(optimizer)
    if text is None:
        return found
    if found.name.startswith("optax."):
        raise LabError(f"{found.name} takes no storage; {found.name.removeprefix('optax.')} does")
    build = partial(found.build, storage=parse_storage(text))
    changed = dataclasses.replace(found, name=f"{found.name} {text}", build=build)
    check_runs(changed)
    return changed


def file_name(name: str) -> str:
    """Turn the name of an optimiser or a problem into a part of a file name.

    >>> file_name("adam pair(block=128)")
    'adam-pair-block-128'
    """
    return "-".join(re.findall(r"[\w.]+", name))


def parse_storage(text: str) -> Any:
    """Read a format of `adam_optax.storage` from text, which is parsed and never executed.

    Raises:
        LabError: If the text is not a format.

    >>> parse_storage("pair") == parse_storage("pair(bytes=2)")
    True
    """
    try:
        name, positional, named = parse_call(text)
    except ValueError as error:
        raise LabError(f"--storage {text!r} is no format, such as pair(3): {error}") from error
    if name not in FORMATS:
        raise LabError(f"--storage {text!r} is none of {', '.join(FORMATS)}")
    try:
        return getattr(formats, name)(*positional, **named)
    except (TypeError, ValueError) as error:
        raise LabError(f"--storage {text}: {error}") from error
