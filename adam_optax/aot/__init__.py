"""Compile an update for an accelerator that need not be there, and measure its use of memory.

`compile_update` compiles the update of an optimiser, `compile_step` any step, and `facts` measures
a function that is compiled already. `donation` says which donated arrays of a compiled step are
copied, and why. The command `adam-optax compile-report` prints the same facts
for a user's own model. Compiling for TPUs and GPUs needs the extra `adam-optax[aot]`.
"""

from adam_optax.aot.compiled import Compiled, compile_step, compile_update, facts
from adam_optax.aot.donation import Donated, Donation, donation

__all__ = [
    "Compiled",
    "Donated",
    "Donation",
    "compile_step",
    "compile_update",
    "donation",
    "facts",
]
