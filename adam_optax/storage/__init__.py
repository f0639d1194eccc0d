"""How moments are kept between steps: formats for one moment, and codecs for those of a leaf."""

from adam_optax._engine.keeper import Keeper as Keeper
from adam_optax._engine.keeper import rested as rested
from adam_optax.storage._base import MASKED as MASKED
from adam_optax.storage._base import Format as Format
from adam_optax.storage._base import Joint as Joint
from adam_optax.storage._base import Stamp as Stamp
from adam_optax.storage._codec import Codec as Codec
from adam_optax.storage._codec import Place as Place
from adam_optax.storage._dense import Dense as Dense
from adam_optax.storage._dense import dense as dense
from adam_optax.storage._factored import Factored as Factored
from adam_optax.storage._factored import factored as factored
from adam_optax.storage._float8 import Float8 as Float8
from adam_optax.storage._float8 import float8 as float8
from adam_optax.storage._int4 import Int4 as Int4
from adam_optax.storage._int4 import int4 as int4
from adam_optax.storage._int8 import Int8 as Int8
from adam_optax.storage._int8 import int8 as int8
from adam_optax.storage._pair.choose import pair as pair
from adam_optax.storage._plan import Plan as Plan
from adam_optax.storage._plan import path_name as path_name
from adam_optax.storage._plan import resolve as resolve
from adam_optax.storage._stochastic import stochastic as stochastic
