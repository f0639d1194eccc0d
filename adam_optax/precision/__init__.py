"""Update bfloat16 and float16 parameters without losing the update: last links of a chain.

An update below half a unit of its parameter is lost when it is added: in bfloat16, 1 + 0.001 is 1.
Each link here chooses the sixteen-bit value that the parameter shall have, and emits the float32
update with which `optax.apply_updates` reaches that value exactly.

| link | what happens to the part of a step that does not fit | bytes more per parameter |
|---|---|---|
| `stochastic_rounding(seed)` | it decides at random, without bias, between up and down | 0 |
| `kahan()` | it is added to the next step, kept in the parameter's dtype | 2 |
| `split_master()` | it is kept: parameter and remainder are the float32 master | 2 |

Which one to take: `split_master` where training must equal float32's bit for bit, and parameters
are bfloat16; `kahan` where parameters are float16, or where the same two bytes shall do without a
master; `stochastic_rounding` where there is no memory to spare.

Nothing that changes updates may follow these links in a chain, because the update would no longer
reach the value that was chosen. Such a chain is refused at its first `update`; a link of your own
after one of these gives a warning. Parameters of float32, float64 and complex dtypes pass through.
Inside `optax.MultiSteps` a link acts once per step that is taken, and parameters do not change in
between.
An optimiser rounds its updates to the gradients' dtype: give it float32 gradients,
`jax.tree.map(lambda g: g.astype("float32"), grads)`, or the steps are right to eight bits only.
`optax.apply_updates` adds float32 to bfloat16, which JAX's strict promotion of dtypes refuses:
apply updates under `jax.numpy_dtype_promotion("standard")`, the default.
"""

from adam_optax.precision._kahan import KahanState, kahan
from adam_optax.precision._split_master import (
    SplitMasterState,
    read_master,
    split_master,
    write_master,
)
from adam_optax.precision._stochastic_rounding import (
    StochasticRoundingState,
    stochastic_rounding,
)

__all__ = [
    "KahanState",
    "SplitMasterState",
    "StochasticRoundingState",
    "kahan",
    "read_master",
    "split_master",
    "stochastic_rounding",
    "write_master",
]
