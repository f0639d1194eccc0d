"""An update compiled for an accelerator that need not be there, and what it does to memory.

`compile_update` compiles and measures, `table` prints; `adam-optax compile-report` is both.
"""

from adam_optax.aot.compiled import Compiled as Compiled
from adam_optax.aot.compiled import compile_step as compile_step
from adam_optax.aot.compiled import compile_update as compile_update
from adam_optax.aot.compiled import facts as facts
