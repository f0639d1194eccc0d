"""Name the type of the argument `storage`."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from adam_optax.storage._base import Format, Joint

AnyFormat: TypeAlias = Format | Joint
"""A format of one moment or of several moments together."""

StorageSpec: TypeAlias = (
    AnyFormat
    | Mapping[str, AnyFormat]
    | Callable[[str, Any], AnyFormat | Mapping[str, AnyFormat] | None]
    | None
)
"""How moments are kept: one format, one for each moment, or a function of a parameter's path."""
