"""The Adam family for JAX: optax-compatible, right to the last digits.

    >>> import adam_optax as ao
    >>> tx = ao.adamw(1e-3, weight_decay=1e-2)

The parts, from the outside in: `alias` and `scale` (optimisers under optax's names), `optimizer`
and `scale_by` (a rule as a transformation), `rules` (the variants), `moments` and `directions`
(what they are made of), `storage` (how moments are kept), `convert` (states from and to optax).
"""

from adam_optax import convert as convert
from adam_optax import directions as directions
from adam_optax import moments as moments
from adam_optax import rules as rules
from adam_optax import storage as storage
from adam_optax.alias import adam as adam
from adam_optax.alias import adamax as adamax
from adam_optax.alias import adamaxw as adamaxw
from adam_optax.alias import adamw as adamw
from adam_optax.alias import amsgrad as amsgrad
from adam_optax.alias import nadam as nadam
from adam_optax.alias import nadamw as nadamw
from adam_optax.clip import clip_by_global_norm as clip_by_global_norm
from adam_optax.directions import Direction as Direction
from adam_optax.moments import Leaf as Leaf
from adam_optax.moments import Moment as Moment
from adam_optax.optimizer import Decay as Decay
from adam_optax.optimizer import optimizer as optimizer
from adam_optax.read import read_moments as read_moments
from adam_optax.rule import Rule as Rule
from adam_optax.rule import variant as variant
from adam_optax.scale import scale_by_adam as scale_by_adam
from adam_optax.scale import scale_by_adamax as scale_by_adamax
from adam_optax.scale import scale_by_amsgrad as scale_by_amsgrad
from adam_optax.storage import Codec as Codec
from adam_optax.transform import ScaleByState as ScaleByState
from adam_optax.transform import scale_by as scale_by

__version__ = "0.1.0"
