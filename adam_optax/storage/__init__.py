"""Choose how moments are kept between steps: a format for all, by moment, or by leaf.

| format | bytes for both moments of Adam | take it when |
|---|---|---|
| `dense()` | 8 (float32), 4 (bfloat16) | memory is no concern; the default |
| `stochastic()` | 4 | state should be halved, on any shape, sharding and rule |
| `pair()` | 2 | Adam's state should be a quarter, whatever neighbours do |
| `pair(block=128)` | 2.02 | as `pair()`, with about half its error, on GPUs and TPUs |
| `pair(1, block=64)` | 1.06 | memory decides everything |
| `float8()` | 2.02 | any rule, in a byte a moment, over a wide range of gradients |
| `int8()` | 2.03 | a state must be like bitsandbytes' |
| `int4()` | 1.06 | `pair(1)` refuses the rule, and neighbours have gradients of one size |
| `factored()` | nu: two vectors a matrix | Adafactor's memory is wanted for a second moment |

A format of your own subclasses `Format`; CONTRIBUTING.md shows how.
"""

from adam_optax.storage._base import Format as Format
from adam_optax.storage._base import LeafContext as LeafContext
from adam_optax.storage._dense import dense as dense
from adam_optax.storage._factored import factored as factored
from adam_optax.storage._float8 import float8 as float8
from adam_optax.storage._int4 import int4 as int4
from adam_optax.storage._int8 import int8 as int8
from adam_optax.storage._pair import pair as pair
from adam_optax.storage._stochastic import stochastic as stochastic

__all__ = [
    "Format",
    "LeafContext",
    "dense",
    "factored",
    "float8",
    "int4",
    "int8",
    "pair",
    "stochastic",
]
