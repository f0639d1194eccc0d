"""How moments are kept between steps: formats for one moment, and codecs for those of a leaf."""

from adam_optax.storage.codec import Codec as Codec
from adam_optax.storage.codec import Place as Place
from adam_optax.storage.dense import Dense as Dense
from adam_optax.storage.dense import dense as dense
from adam_optax.storage.factored import Factored as Factored
from adam_optax.storage.factored import factored as factored
from adam_optax.storage.float8 import Float8 as Float8
from adam_optax.storage.float8 import float8 as float8
from adam_optax.storage.format import MASKED as MASKED
from adam_optax.storage.format import Format as Format
from adam_optax.storage.format import Joint as Joint
from adam_optax.storage.format import Stamp as Stamp
from adam_optax.storage.int4 import Int4 as Int4
from adam_optax.storage.int4 import int4 as int4
from adam_optax.storage.int8 import Int8 as Int8
from adam_optax.storage.int8 import int8 as int8
from adam_optax.storage.keeper import Keeper as Keeper
from adam_optax.storage.keeper import rested as rested
from adam_optax.storage.pair import pair as pair
from adam_optax.storage.resolve import Plan as Plan
from adam_optax.storage.resolve import path_name as path_name
from adam_optax.storage.resolve import resolve as resolve
from adam_optax.storage.stochastic import stochastic as stochastic
