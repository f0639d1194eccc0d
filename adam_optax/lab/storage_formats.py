"""Read storage formats from text, for the command line."""

import dataclasses
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from adam_optax import storage as formats
from adam_optax._core.calls import parse_call
from adam_optax.lab.errors import LabError
from adam_optax.lab.optimizers import Optimizer, check_runs, resolve

FORMATS = ("dense", "stochastic", "pair", "float8", "int8", "int4", "factored")
"""Names of the formats of `adam_optax.storage` that can be chosen by text."""
STORAGE_EXAMPLES = f"{', '.join(FORMATS)}, with arguments or without, such as 'pair(3)'"
"""The formats, for a help text."""


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


def with_storage_where_taken(
    optimizers: Sequence[str | Optimizer], text: str | None
) -> tuple[list[Optimizer], list[str]]:
    """Let several optimisers store their moments in a format, as far as they take the format.

    Args:
        optimizers: Names, or `Optimizer` records.
        text: The format, `pair(3)` say; `None`: each optimiser's own default.

    Returns:
        The optimisers, and the names of those that do not take the format and stay as they are.

    Raises:
        LabError: If there is no such format, or none of the optimisers takes the format.
    """
    if text is not None:
        parse_storage(text)
    found, kept, refusal = [], [], None
    for optimizer in map(resolve, optimizers):
        try:
            found.append(with_storage(optimizer, text))
        except LabError as error:
            refusal = error
            kept.append(optimizer.name)
            found.append(optimizer)
    if refusal is not None and len(kept) == len(found):
        raise refusal
    return found, kept


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
