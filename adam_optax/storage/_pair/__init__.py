"""Keep both moments of Adam in one code: two bytes that cannot explode."""

from adam_optax._core.checks import check_seed
from adam_optax.storage._base import Format
from adam_optax.storage._pair.base import PairFormat
from adam_optax.storage._pair.blockwise import BlockwisePair
from adam_optax.storage._pair.elementwise import GRIDS, ElementwisePair
from adam_optax.storage._pair.one_byte import OneBytePair
from adam_optax.storage._quant.blocks import check_block
from adam_optax.storage._stochastic import Stochastic


def pair(
    bytes: int = 2,
    block: int | None = None,
    *,
    fallback: Format | None = None,
    seed: int = 0,
) -> PairFormat:
    r"""Keep both moments of Adam in 2 bytes (or 1, 3 or 4) a parameter, on any shape and sharding.

    One code holds :math:`\nu` on a logarithmic grid and :math:`\mu / \sqrt{\nu}`, which is bounded
    (by a root up to 6 % too large, also for reading). So mu cannot survive a nu that rounds to
    zero, which makes the steps of other 8-bit formats explode; and nu cannot freeze, since it is
    rounded by a dither that is right on average. What a step takes off nu by its decay is kept out
    of the code and is exact.

    Elementwise, the default, nothing is reduced: one pass on every backend. In blocks along the
    last axis, a block's codes are spread over the range that it needs: a third of the error, for
    3 bytes of header a block. Adam's updates are off by 12 % of their root mean square at 2 bytes,
    by 7 % in blocks, and by 1.5 % at 3 and 4 bytes, to either side alike.

    One byte is for blocks alone (64 is a good size, with 4 bytes of header): updates are off by
    30 % where neighbours are alike, by 60 % where they are six decades apart (75 % at b1=.95), up
    to 4 times too long for a while, and right on average within a few percent. The wider a block's
    range, the more of its codes are nu's and the fewer mu's; beyond eight decades of gradients,
    smaller ones freeze.

    An element whose gradient is not finite, or whose square is not, takes no step and keeps its
    moments. Two bytes are fine for gradients from 1e-7 to 10, coarse from 1e-11 to 2e4, and
    saturate beyond: steps are then too short, or a few times too long. A leaf without a gradient,
    and an element that rests, is rounded anew at each step, right on average.

    Args:
        bytes: 1 (with `block`), 2, 3 or 4.
        block: how many neighbours share a header, 128 say; None: elementwise.
        fallback: the format of other moments, such as AMSGrad's maximum; `stochastic()` by default.
        seed: a number that selects the dither.

    Raises:
        ValueError: if `bytes` is another number, or 1 without `block`; where it is used, if the
            rule has no mean of gradients beside a mean of their squares.
        TypeError: where it is used, if a parameter is complex.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.adamw(1e-3, storage=ao.storage.pair())
    >>> state = tx.init({"w": jnp.ones((3, 5))})
    >>> state[0].moments["mu_nu"]["w"].dtype, state[0].moments["mu_nu"]["w"].shape
    (dtype('uint16'), (3, 5))
    >>> tx = ao.adamw(1e-3, storage=ao.storage.pair(1, block=64))
    >>> entries = tx.init({"w": jnp.ones((3, 500))})[0].moments
    >>> [(name, str(a["w"].dtype), a["w"].shape) for name, a in entries.items()][:2]
    [('mu_nu', 'uint8', (3, 500)), ('mu_nu_first', 'uint16', (3, 8))]
    """
    if bytes not in (1, *GRIDS):
        raise ValueError(f"bytes must be 1, 2, 3 or 4, not {bytes!r}")
    if bytes == 1 and block is None:
        raise ValueError("pair(1) is for blocks of neighbours alone; write pair(1, block=64)")
    if fallback is not None and not isinstance(fallback, Format):
        raise TypeError(f"fallback must be a format such as stochastic(), not {fallback!r}")
    how = bytes, fallback or Stochastic(seed), check_seed(seed)
    if block is None:
        return ElementwisePair(*how)
    blocked = OneBytePair if bytes == 1 else BlockwisePair
    return blocked(*how, check_block(block, "pair()"))
