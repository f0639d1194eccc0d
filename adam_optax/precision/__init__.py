"""Updating bfloat16 and float16 parameters without losing the update: last links of a chain.

An update below half a unit of its parameter is lost when it is added: in bfloat16, 1 + 0.001 is 1.
Each link here decides the sixteen-bit value that the parameter shall have, and emits the float32
update with which `optax.apply_updates` lands on it exactly.

| link | what happens to what does not fit | bytes more per parameter |
|---|---|---|
| `stochastic_rounding(seed)` | decides at random, without bias, up or down | 0 |
| `kahan()` | is carried to the next step, in the parameter's dtype | 2 |
| `split_master()` | is kept: parameter and remainder are the float32 master | 2 |

Nothing may follow these links in a chain, for it would change where the update lands. Parameters
of float32, float64 and complex dtypes pass through. Inside `optax.MultiSteps` a link acts once per
step that is taken, and parameters stay as they are between. An optimiser rounds its updates to the
gradients' dtype: give it float32 gradients, `jax.tree.map(lambda g: g.astype("float32"), grads)`,
or the steps are right to eight bits only. `optax.apply_updates` adds float32 to bfloat16, which
JAX's strict promotion of dtypes refuses: apply under `jax.numpy_dtype_promotion("standard")`, the
default.
"""

from adam_optax.precision._kahan import KahanState as KahanState
from adam_optax.precision._kahan import kahan as kahan
from adam_optax.precision._masters import read_master as read_master
from adam_optax.precision._masters import write_master as write_master
from adam_optax.precision._split_master import SplitMasterState as SplitMasterState
from adam_optax.precision._split_master import split_master as split_master
from adam_optax.precision._stochastic_rounding import (
    StochasticRoundingState as StochasticRoundingState,
)
from adam_optax.precision._stochastic_rounding import stochastic_rounding as stochastic_rounding
