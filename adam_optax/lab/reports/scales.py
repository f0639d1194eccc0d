"""Choose the scale of an axis of hyper-parameters: decades where decades matter."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from adam_optax.lab.reports import canvas

if TYPE_CHECKING:
    from matplotlib.axis import Axis

DECAY_RATES = frozenset(("b1", "b2", "b3", "beta", "decay", "decay_rate", "momentum", "rho"))
"""Numbers whose distance from 1 matters: an average of rate b remembers 1 / (1-b) steps."""
_TICKS = 7
"""The most values that each have a tick."""
_DECADES = 3.0
"""Values whose largest is so many times the smallest are on a logarithmic scale."""


@dataclasses.dataclass(frozen=True)
class Scale:
    """Place the values of a hyper-parameter on an axis.

    Attributes:
        name: Name of the hyper-parameter.
        values: The values, each once, in rising order.
        from_one: Whether places are distances from 1, on an axis that is turned round.
        is_log: Whether the axis is logarithmic.
    """

    name: str
    values: tuple[float, ...]
    from_one: bool
    is_log: bool

    def place(self, value: float) -> float:
        """Return the place of a value on the axis."""
        return 1 - value if self.from_one else value

    def apply(self, axis: "Axis") -> None:
        """Give an axis its scale, ticks and name."""
        if self.is_log:
            canvas.logarithmic(axis)
        low, high = sorted(axis.get_view_interval())
        inside = [value for value in self.values if low <= self.place(value) <= high]
        if len(inside) <= _TICKS or self.from_one:
            canvas.ticks_at(axis, [self.place(value) for value in inside], inside)
        if self.from_one and not axis.get_inverted():
            axis.set_inverted(True)
        beside = ", by its distance from 1" if self.from_one else ""
        axis.set_label_text(self.name.replace("_", " ") + beside)


def scale_of(name: str, values: Sequence[float]) -> Scale:
    """Return the scale for values of a hyper-parameter.

    Args:
        name: Name of the hyper-parameter.
        values: The values that were tried.
    """
    found = tuple(sorted(set(values)))
    from_one = name in DECAY_RATES and found[0] >= 0 and found[-1] < 1
    places = sorted(1 - value if from_one else value for value in found)
    is_log = places[0] > 0 and places[-1] > _DECADES * places[0]
    return Scale(name, found, from_one and is_log, is_log)
