"""Define a storage format: how moments of a leaf are kept between two steps."""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, TypeAlias

from jax import Array
from optax import MaskedNode

from adam_optax._core.dither import TileOffset, hash_key, salt, two_dithers
from adam_optax.moments import Moment

MASKED = MaskedNode()
"""The placeholder in a state's entry for a leaf that is kept under other entries."""

EVERYWHERE = frozenset({"tpu", "cuda", "cpu"})
"""The platforms: XLA makes several passes of a step whose neighbours share something on each."""

Moments: TypeAlias = Mapping[str, Moment]
"""The moments of a rule by name."""

Values: TypeAlias = Mapping[str, Array]
"""The values of moments by name."""

LogDecays: TypeAlias = tuple[Array | None, ...]
"""For each moment its log decay where its decay rate follows a schedule, else None."""

Frame: TypeAlias = tuple[Array, ...]
"""The numbers that tell how the codes of a step are read: uint32 scalars."""

Entry: TypeAlias = Array | MaskedNode
"""An array that a state keeps of a leaf, or a placeholder where the state keeps none."""


class Resting(NamedTuple):
    """Tell a format which elements take no step, and as what their moments are kept already.

    Attributes:
        mask: where an element keeps its moments.
        encoded: the arrays that are kept of the leaf, by component.
        scalars: what the format's `scalars` returned for the frame of these arrays.
    """

    mask: Array
    encoded: Mapping[str, Entry]
    scalars: Any


class LeafContext(NamedTuple):
    """Tell a format which moments of which leaf it encodes or decodes, and at which step.

    Attributes:
        moments: the descriptions of the moments, in the order of the values.
        shape: the shape of the leaf, or of the tile of it that is worked on.
        count: the steps taken when the codes are written.
        key: a number that differs among the moments of a rule, to dither by.
        scalars: what the format's `scalars` returned for the frame of the codes.
        offset: where the tile begins in the whole leaf; None: the whole leaf is worked on.
        resting: the elements that take no step, for a format that has frames; None: all take one.
    """

    moments: tuple[Moment, ...]
    shape: tuple[int, ...]
    count: Array  # type: ignore[assignment]  # tuple.count: the field's name is optax's
    key: int
    scalars: Any = ()
    offset: TileOffset | None = None
    resting: Resting | None = None

    def dithers(self, seed: int) -> tuple[Array, Array]:
        """Return two unrelated dithers in [0, 2^32) for each element of this step."""
        drawn = salt(self.count, hash_key(self.key + seed))
        return two_dithers(self.shape, drawn, self.offset)


class Format(abc.ABC):
    """Keep moments of a leaf between two steps: alone, or some of them together.

    Subclasses are final frozen dataclasses without arrays in them, so that compiled steps are found
    by them. They keep the parameter's shape or drop axes of it, and reduce along the last axis
    only. `encode` and `decode` of a format with `kernel_platforms` also run on tiles inside Pallas
    kernels, and may use only what Mosaic and Triton know: no gather, no integer division, no
    `round`, no array constants. For a CPU a step is written as a loop of LLVM's instructions; what
    has none there is left to XLA.

    Attributes:
        components: the names of the arrays that moments are kept as. The component `""` is the
            state's entry of the moment's own name (of moments kept together, `mu_nu`), a component
            `"row"` of `nu` the entry `nu_row`. A leaf that lacks a component holds an
            `optax.MaskedNode()` there, so that every entry maps over the parameters.
        read_back: whether the step goes on with the stored moment instead of the fresh one.
        skips_nonfinite: whether an element whose gradient, or its square, is not finite takes no
            step and keeps its moments, so that neither inf nor NaN can get into the codes.
        kernel_platforms: the platforms on which XLA makes several passes over memory of a step with
            this format, and a kernel makes one.
        has_frame: whether codes are read with a frame: numbers of the step in which they were
            written, which the state keeps once for all leaves.
        block: how many neighbours along the last axis share something; 1 for none.
        function: the name of the function that makes the format, for `repr`.
    """

    components: ClassVar[tuple[str, ...]] = ("",)
    read_back: ClassVar[bool] = False
    skips_nonfinite: ClassVar[bool] = False
    kernel_platforms: ClassVar[frozenset[str]] = frozenset()
    has_frame: ClassVar[bool] = False
    block: int = 1
    function: ClassVar[str] = "format"

    def __repr__(self) -> str:
        """Show the call that makes this format, with the arguments that are not the defaults."""
        fields: Any = dataclasses.fields(self) if dataclasses.is_dataclass(self) else ()
        given = {f.name: getattr(self, f.name) for f in fields}
        changed = [f"{f.name}={given[f.name]!r}" for f in fields if given[f.name] != f.default]
        return f"{self.function}({', '.join(changed)})"

    def together(self, moments: Moments) -> tuple[str, ...]:
        """Return the names of the moments that one code holds together; empty: each by itself.

        Raises:
            ValueError: if the rule lacks moments that the format could keep together.
        """
        del moments
        return ()

    def others(self) -> "Format":
        """Return the format of the moments that are not kept together."""
        return self

    def check(self, name: str, moment: Moment) -> None:  # noqa: B027  (most refuse nothing)
        """Refuse a moment that this format cannot keep.

        Raises:
            ValueError: with the reason and what to use instead.
        """

    def frame(
        self, moments: tuple[Moment, ...], count: Array, key: int, log_decays: LogDecays
    ) -> Frame:
        """Return the numbers that tell how the codes of a step are read; called if `has_frame`.

        The state keeps them, so that codes are read as they were written, whatever the decay rates
        and the count are by then.

        Args:
            moments: the descriptions of the moments that are kept.
            count: the steps taken when the codes are written.
            key: a number that differs among the moments of a rule, to dither by.
            log_decays: for each moment, the logarithm of the product of its decay rates up to that
                count, where the rate follows a schedule; else None.
        """
        del moments, count, key, log_decays
        return ()

    def scalars(self, frame: Frame) -> Any:
        """Compute the scalars that codes of a frame need, once for all leaves."""
        del frame
        return ()

    @abc.abstractmethod
    def encode(self, values: Sequence[Array], context: LeafContext) -> dict[str, Entry]:
        """Return the arrays to keep, by component.

        Args:
            values: the moments in compute precision, float32 or wider, of the leaf's shape.
            context: which moments, which leaf, which step, and which elements rest. The values of
                elements that rest are the decoded ones.
        """

    @abc.abstractmethod
    def decode(self, encoded: Mapping[str, Entry], context: LeafContext) -> tuple[Array, ...]:
        """Return the moments in compute precision, in the order of `context.moments`.

        Args:
            encoded: what `encode` returned.
            context: which moments, which leaf, and the scalars of the frame of `encode`.
        """
