"""Write Adam's two moments to storage formats outside an optimiser, and read values and codes."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from adam_optax._engine.leaf import decode, encode, storage_frames, storage_scalars
from adam_optax.storage import LeafContext
from adam_optax.storage._float8 import Float8
from adam_optax.storage._pair.base import PairFormat
from adam_optax.storage._pair.elementwise import unpack_codes
from adam_optax.storage._pair.one_byte import OneBytePair
from adam_optax.storage._plan import LeafStorage
from benchmarks.codecs.groups import unpacked
from benchmarks.codecs.heavyball import HeavyBall
from benchmarks.codecs.solo import Solo
from tests.storage.formats import MOMENTS, leaf_storage

Kept = Mapping[str, Any]
"""The arrays that are kept of both moments, by the state's entries."""


@dataclasses.dataclass(frozen=True)
class Stored:
    """Keep `mu` and `nu` of Adam in a format, b1 = .9 and b2 = .999.

    Attributes:
        storage: both moments' places.
    """

    storage: LeafStorage

    def write(self, mu: Array, nu: Array, count: Array) -> Kept:
        """Return what is kept of two moments after `count` steps."""
        context, scalars = self._at(count, mu.shape)
        return encode(self.storage, {"mu": mu, "nu": nu}, MOMENTS, context, scalars)

    def read(self, kept: Kept, count: Array, shape: tuple[int, ...]) -> dict[str, Array]:
        """Return the moments that were kept after `count` steps, as the next step reads them."""
        context, scalars = self._at(count, shape)
        return decode(self.storage, kept, MOMENTS, context, scalars)

    def codes(self, kept: Kept, count: Array, shape: tuple[int, ...]) -> dict[str, Array]:
        """Return the code of each number as an int32 that grows with the number."""
        found: dict[str, Array] = {}
        context, scalars = self._at(count, shape)
        for slot, own in zip(self.storage.slots, scalars, strict=True):
            encoded = {component: kept[entry] for component, entry in slot.entries}
            if isinstance(slot.format, PairFormat):
                found["mu"] = _ratio(slot.format, encoded, context._replace(scalars=own))
                found["nu"] = self._without_decay("nu", own.nu_scale, kept, count, shape)
            elif isinstance(slot.format, Float8):
                (name,) = slot.names
                found[name] = self._without_decay(name, own, kept, count, shape)
            elif isinstance(slot.format, Solo):
                (name,) = slot.names
                bits = slot.format.mu_bits if name == "mu" else slot.format.nu_bits
                code = unpacked(encoded[""], bits, shape)
                found[name] = code if name == "mu" else -code  # of nu, the largest has code 0
            elif isinstance(slot.format, HeavyBall):
                found[slot.names[0]] = ordered(encoded[""]) * 256 + ordered(encoded["rest"])
            elif len(slot.names) == 2:  # int4
                byte = encoded[""].astype(jnp.int32)
                found |= dict(zip(slot.names, (byte >> 4, byte & 15), strict=True))
            elif getattr(encoded[""], "shape", None) == shape:
                found[slot.names[0]] = ordered(encoded[""])
            else:  # factored: no element has a code of its own
                found[slot.names[0]] = ordered(self.read(kept, count, shape)[slot.names[0]])
        return found

    def _without_decay(
        self, name: str, scale: Array, kept: Kept, count: Array, shape: tuple[int, ...]
    ) -> Array:
        """Return the place of numbers on a grid that has a scale, of which 2^16 are in an octave.

        A block may write a number that rests by another code.
        """
        scaled = self.read(kept, count, shape)[name] * scale
        return (ordered(scaled) + 64) >> 7  # without the rounding of that product

    @property
    def shared(self) -> tuple[str, ...]:
        """Return the moments of which an element has no code of its own."""
        probe = jnp.zeros((256, 256))
        kept = jax.eval_shape(self.write, probe, probe, jnp.int32(1))
        largest = {
            slot.names: max(getattr(kept[entry], "size", 0) for _, entry in slot.entries)
            for slot in self.storage.slots
        }
        few = probe.size // 8  # four codes of two bits are in a byte
        return tuple(n for names, size in largest.items() if size < few for n in names)

    @property
    def apart(self) -> int:
        """Return how far apart elements are that share nothing."""
        blocks = (slot.format.block for slot in self.storage.slots)
        return 256 if self.shared else max(blocks)

    def _at(self, count: Array, shape: tuple[int, ...]) -> tuple[LeafContext, Any]:
        frames = storage_frames(self.storage, MOMENTS, count, {})
        (scalars,) = storage_scalars(self.storage, frames)
        return LeafContext((), shape, count, 0), scalars


def stored(storage: Any) -> Stored:
    """Return the moments' places for a value of the argument `storage` of an optimiser."""
    return Stored(leaf_storage(storage))


def ordered(codes: Array) -> Array:
    """Return codes as int32; floats of any width in the order of their values."""
    if not jnp.issubdtype(codes.dtype, jnp.floating):
        return codes.astype(jnp.int32)
    bits = lax.bitcast_convert_type(codes, f"int{8 * codes.dtype.itemsize}").astype(jnp.int32)
    return flipped(bits, 8 * codes.dtype.itemsize)


def flipped(bits: Array, width: int = 32) -> Array:
    """Turn a sign and a magnitude into an int, or such an int into sign and magnitude."""
    lowest = jnp.int32(-(1 << (width - 1)))
    return jnp.where(bits < 0, lowest - bits, bits)


def _ratio(form: PairFormat, encoded: Mapping[str, Any], context: LeafContext) -> Array:
    """Return the code of mu over the root of nu that a code of a pair holds."""
    if isinstance(form, OneBytePair):
        ratios = form._ratios(encoded["cells"].astype(jnp.int32) & 31, context)
    else:
        ratios = form._ratios(context.scalars)  # type: ignore[attr-defined]
    code, size = unpack_codes(encoded, form.bytes), jnp.asarray(ratios.size, jnp.int32)
    z = ((code - 1) % jnp.asarray(ratios.codes, jnp.uint32)).astype(jnp.int32) - size
    return jnp.where(code != 0, z, 0)
