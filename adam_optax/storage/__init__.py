"""How moments are kept between steps: formats for one moment, and codecs for those of a leaf."""

from adam_optax.storage.codec import Codec as Codec
from adam_optax.storage.codec import PerMoment as PerMoment
from adam_optax.storage.codec import resolve as resolve
from adam_optax.storage.dense import Dense as Dense
from adam_optax.storage.dense import dense as dense
from adam_optax.storage.factored import Factored as Factored
from adam_optax.storage.factored import factored as factored
from adam_optax.storage.format import Format as Format
from adam_optax.storage.keeper import Keeper as Keeper
