"""Test updates compiled for accelerators that need not be there (extra `aot`)."""

from adam_optax.aot import hlo as hlo
from adam_optax.aot import targets as targets
