"""One framework's Adam family, as data."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any


@dataclasses.dataclass(frozen=True, eq=False)
class Convention:
    """One framework's Adam family; `KERAS.adam` are the arguments of `ao.adam`, and so on.

    Attributes:
        name: the framework.
        source: where in its source code the formulas stand.
        differs: what differs from optax, and by how much.
        learning_rate: its default for Adam, or None where it has none.
        options: the arguments by optimiser; each is an attribute, too.
        rates: default learning rates of the optimisers whose default is another.
    """

    name: str
    source: str
    differs: str
    learning_rate: float | None
    options: Mapping[str, Mapping[str, Any]]
    rates: Mapping[str, float]

    def __getattr__(self, name: str) -> Mapping[str, Any]:
        options = self.__dict__.get("options", {})
        if name in options:
            found: Mapping[str, Any] = options[name]
            return found
        raise AttributeError(
            f"the convention {self.__dict__.get('name')} has no {name}, or none that can be "
            f"expressed exactly; it has {', '.join(options)}"
        )

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.options]


def convention(
    name: str,
    source: str,
    differs: str,
    learning_rate: float | None = 1e-3,
    rates: Mapping[str, float] = MappingProxyType({}),
    **options: dict[str, Any],
) -> Convention:
    """A `Convention` whose mappings nobody can change."""
    frozen = MappingProxyType({n: MappingProxyType(dict(o)) for n, o in options.items()})
    return Convention(name, source, differs, learning_rate, frozen, MappingProxyType(dict(rates)))
