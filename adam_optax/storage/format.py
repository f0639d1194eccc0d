"""What a storage format is: how one moment of a leaf is kept between steps."""

from collections.abc import Mapping
from typing import Any, ClassVar

from jax import Array

from adam_optax.moments import Moment


class Format:
    """How one moment is kept; subclasses are frozen dataclasses without arrays in them.

    Attributes:
        parts: what a moment is kept as. A part `""` is the state's entry of the moment's own name,
            a part `"row"` of `nu` the entry `nu_row`. Where a leaf has no such part, it holds an
            `optax.MaskedNode()`, so that every entry maps over the parameters.
        stored: whether the step reads what is kept, and not the fresh moment.
    """

    parts: ClassVar[tuple[str, ...]] = ("",)
    stored: ClassVar[bool] = False

    def fits(self, name: str, moment: Moment) -> None:
        """Refuse a moment that cannot be kept so.

        Raises:
            ValueError: if it cannot; the message says why.
        """

    def encode(self, m: Array, moment: Moment, count: Array) -> dict[str, Any]:
        """What is kept, by part, of a moment in compute precision after step `count`."""
        raise NotImplementedError

    def decode(
        self, kept: Mapping[str, Any], moment: Moment, shape: tuple[int, ...], count: Array
    ) -> Array:
        """The moment of this shape, in compute precision, of what was kept after step `count`."""
        raise NotImplementedError
