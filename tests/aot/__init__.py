"""The update as compiled for accelerators that need not be there: the extra `aot`."""

from adam_optax.aot import hlo as hlo
from adam_optax.aot import targets as targets
