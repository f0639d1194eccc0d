"""Keep moments as the peers' newest formats do: codecs to measure by, which the library has not.

Each is a format as a user writes one (`adam_optax.storage.Format`), and goes wherever a format
goes: `ao.adamw(1e-3, storage=CODECS["COAT"])`. They round as the peers do, blocks run as the peers'
do (but along the last axis), and nothing is mended. The formulas are the papers' and packages'; the
code is ours. `LEARNT` are this library's `float8()` and `int4()` with an idea of a peer in them.
"""

from typing import Any

from benchmarks.codecs.coat import Coat
from benchmarks.codecs.flashoptim import FlashOptim
from benchmarks.codecs.gefen import Gefen
from benchmarks.codecs.heavyball import HeavyBall
from benchmarks.codecs.learnt import LogarithmicInt4, PoweredFloat8
from benchmarks.codecs.solo import Solo

LEARNT: dict[str, Any] = {
    "float8, COAT's power": PoweredFloat8(),
    "float8, COAT's power, mu to nearest": PoweredFloat8(nearest_mu=True),
    "int4, SOLO's logarithm": LogarithmicInt4(),
    "int4, SOLO's logarithm, mu to nearest": LogarithmicInt4(nearest_mu=True),
}
"""This library's formats with an idea of a peer's, by name."""
CODECS: dict[str, Any] = {
    "HeavyBall bf16+8": HeavyBall(),
    "FlashOptim": FlashOptim(),
    "FlashOptim, float32 scales": FlashOptim("float32"),
    "COAT": Coat(),
    "COAT, nu e5m2": Coat(unsigned="float8_e5m2"),
    "SOLO 4/4": Solo(4, 4),
    "SOLO 4/2": Solo(4, 2),
    "SOLO 2/2": Solo(2, 2),
    "Gefen": Gefen(),
    **LEARNT,
}
"""By name, as tables show them."""
