"""Record what an optimiser does to each layer inside jit: `adam_optax.watch(tx)`.

`transform.py` is the transformation, `state.py` its state. At a step that is recorded,
`find_moments.py` looks for the moments of the watched optimiser, `leaf_view.py` reads them as their
rule does, and `metrics.py` reduces them to a few numbers for each layer. `records.py` returns the
records to the user, and `plot.py` draws them.
"""

from adam_optax._watch.state import WatchState
from adam_optax._watch.transform import Watch, watch

__all__ = ["Watch", "WatchState", "watch"]
