"""Choose the format that keeps both moments of Adam in one code: `pair`."""

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
    r"""Keep both moments of Adam in one code: 2 bytes a parameter (or 1, 3 or 4).

    When to take it: for every rule that keeps a mean of gradients beside a mean of their squares
    (Adam, AdamW, LAMB, RAdam, Yogi, AMSGrad, AdEMAMix and others), on any shape and sharding.

    | call | bytes a parameter | error of updates | take it |
    |---|---|---|---|
    | `pair()` | 2 | 13 % | on any backend; the default |
    | `pair(block=128)` | 2.02 | 7 % | on GPUs and TPUs, where kernels make it one pass |
    | `pair(3)`, `pair(4)` | 3, 4 | 1.5 % | where steps must be close to float32's |
    | `pair(1, block=64)` | 1.06 | 30 to 60 % | where memory decides everything |

    The error is the root mean square of the difference from Adam's updates in float32, to either
    side alike, over the root mean square of these updates. It grows with the steps over which the
    mean of gradients is taken: from b1=0.9 to 0.97 by half with `pair()`, to 0.99 by three times
    with `pair(3)`, `pair(4)` and blocks; larger b1 are refused.

    These errors hold whatever the period at which gradients return. Beside them, a single element
    can be off by more: on gradients that never change, or change their sign at each step, the
    longest of millions of steps is 1.9 times float32's with `pair()`, 1.15 times with `pair(3)` and
    blocks, twice with one byte; 1.6 times with `pair(block=128)` where gradients of alternating
    sign stand beside a steady one (and 16 % off).

    One code holds :math:`\nu` on a logarithmic grid and :math:`\mu / \sqrt{\nu}`, which is bounded
    (by a root up to 6 % too large, also for reading). So mu cannot outlive a nu that rounds to
    zero, which makes the steps of other 8-bit formats explode; and nu cannot freeze, since it is
    rounded by a dither that is right on average (`pair()`: for one over its root). The decay of nu
    is kept out of the code and is exact.

    Cost: without blocks, no reduction, and one pass over memory on every backend. A block's codes
    are spread over the range that the block needs, for 3 bytes of header a block (4 bytes with one
    byte a parameter); blocks run along the last axis. On CPUs, `pair()` takes several times as long
    as float32, and blocks take longer still.

    Without blocks, two bytes are fine for gradients whose root mean square (the root of nu) is
    between 1e-7 and 5. Beyond, as far as float32 reaches, steps are 0.4 times as long as float32's
    and off by 60 %, and never too long; three and four bytes are four times less exact there (below
    1e-8 and above 20; below 1e-9 and above 3e4). Blocks are as fine at every size of gradients.

    Codes are read with a frame of five numbers, which the state keeps in `frames`: they stay true
    when a decay rate, or the count, is another in the next step. A leaf without a gradient, and an
    element whose gradient is not finite, keeps its code but for the scale that all codes share: the
    root of nu is off by up to 5 % then (a code of one byte: 50 %), however long it rests.

    With one byte, updates are off by 30 % where neighbours are alike, by 60 % where they are six
    decades apart (75 % at `b1=0.95`), up to 4 times too long for a while, and right on average
    within a few percent. The wider a block's range, the more of its codes are nu's and the fewer
    mu's; beyond eight decades of gradients, smaller ones freeze. AMSGrad keeps the maximum of a nu
    that is rounded: its steps are 5 % shorter with `pair()`, and no shorter with blocks.

    Refuses: rules without such two means (`lion`, `adagrad`, `adabelief`, `adan`), and complex
    parameters. An element whose gradient is not finite, or whose square is not, takes no step and
    keeps its moments.

    Args:
        bytes: the bytes of a code: 1 (with `block`), 2, 3 or 4.
        block: how many neighbours along the last axis share a header, such as 128 (64 with one
            byte). None: each element is coded by itself.
        fallback: the format of other moments, such as AMSGrad's maximum. None: `stochastic()`.
        seed: a number that selects the dither.

    Raises:
        ValueError: if `bytes` is another number, or 1 without `block`; where the format is used, if
            the rule has no mean of gradients beside a mean of their squares, or a constant b1 is
            above 0.97 (0.99 with blocks of two and more bytes, or with three and four bytes).
        TypeError: if `fallback` is no format; where the format is used, if a parameter is complex.

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
    common = bytes, fallback or Stochastic(seed), check_seed(seed)
    if block is None:
        return ElementwisePair(*common)
    blocked = OneBytePair if bytes == 1 else BlockwisePair
    return blocked(*common, check_block(block, "pair()"))
