"""What a storage format is: how moments of a leaf are kept between steps."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from jax import Array
from optax import MaskedNode

from adam_optax._core.dither import Corner, dithers
from adam_optax.moments import Moment

MASKED = MaskedNode()
"""What stands in an entry where a leaf is kept under another."""

ACCELERATORS = frozenset({"tpu", "cuda"})
"""Where XLA makes several passes of a step that shares something by block."""

Moments = Mapping[str, Moment]
Values = Mapping[str, Array]


class Stamp(NamedTuple):
    """When a moment is kept, and which: what a format may dither by.

    Attributes:
        count: the steps taken.
        salt: another number for every moment of a rule.
        shape: the moment's.
        tick: what the format's `tick` gave.
        corner: where it begins in the whole moment, of which it is a part; None: it is the whole.
    """

    count: Array  # type: ignore[assignment]  # tuple.count: the field's name is optax's
    salt: int
    shape: tuple[int, ...]
    tick: Any = ()
    corner: Corner | None = None

    def dithers(self, seed: int) -> tuple[Array, Array]:
        """Two dithers for each element."""
        return dithers(self.shape, self.count, self.salt + seed, self.corner)


class Format:
    """How one moment is kept; subclasses are frozen dataclasses without arrays in them.

    Attributes:
        parts: what a moment is kept as. A part `""` is the state's entry of the moment's own name,
            a part `"row"` of `nu` the entry `nu_row`. Where a leaf has no such part, it holds an
            `optax.MaskedNode()`, so that every entry maps over the parameters.
        stored: whether the step reads what is kept, and not the fresh moment.
        guarded: whether an element whose gradient, or its square, is not finite takes no step and
            keeps its moments, so that neither inf nor NaN can get into what is kept.
        block: how many neighbours along the last axis share something, 1 for none.
        helped: the platforms on which XLA makes several passes over memory of a step with it, and a
            kernel one.
        clocked: whether what is kept is to be read at the step at which it was written.
    """

    parts: ClassVar[tuple[str, ...]] = ("",)
    stored: ClassVar[bool] = False
    guarded: ClassVar[bool] = False
    helped: ClassVar[frozenset[str]] = frozenset()
    clocked: ClassVar[bool] = False
    block: int = 1

    def fits(self, name: str, moment: Moment) -> None:
        """Refuse a moment that cannot be kept so.

        Raises:
            ValueError: if it cannot; the message says why.
        """

    def tick(self, moment: Moment, count: Array) -> Any:
        """What it needs to know of the step: scalars that all leaves share, computed once."""
        return ()

    def encode(self, m: Array, moment: Moment, stamp: Stamp) -> dict[str, Any]:
        """What is kept, by part, of a moment in compute precision."""
        raise NotImplementedError

    def decode(self, kept: Mapping[str, Any], moment: Moment, stamp: Stamp) -> Array:
        """The moment, in compute precision, of what was kept at that stamp."""
        raise NotImplementedError


class Joint:
    """How some moments of a leaf are kept together; subclasses are like those of `Format`.

    Attributes:
        parts: as of a `Format`, of an entry named like the moments, `mu_nu`.
        guarded: as of a `Format`.
        block: as of a `Format`.
        helped: as of a `Format`.
        clocked: as of a `Format`.
    """

    parts: ClassVar[tuple[str, ...]] = ("",)
    guarded: ClassVar[bool] = False
    helped: ClassVar[frozenset[str]] = frozenset()
    clocked: ClassVar[bool] = False
    block: int = 1

    def names(self, moments: Moments) -> tuple[str, ...]:
        """Which moments it keeps.

        Raises:
            ValueError: if there are none that it could; the message says why.
        """
        raise NotImplementedError

    def rest(self) -> Format:
        """How the other moments are kept."""
        raise NotImplementedError

    def tick(self, moments: Moments, count: Array) -> Any:
        """What it needs to know of the step: scalars that all leaves share, computed once."""
        return ()

    def encode(self, values: Values, moments: Moments, stamp: Stamp) -> dict[str, Any]:
        """What is kept, by part, of the moments in compute precision."""
        raise NotImplementedError

    def decode(self, kept: Mapping[str, Any], moments: Moments, stamp: Stamp) -> dict[str, Array]:
        """The moments, in compute precision, of what was kept at that stamp."""
        raise NotImplementedError
