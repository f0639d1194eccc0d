"""What an optimiser is doing, layer by layer, recorded inside jit: `adam_optax.watch(tx)`.

`state` says what is kept, `views` how a wrapped optimiser's moments are read, `record` what is
computed of them, `read` how the user gets at it, `watcher` is the transformation.
"""

from adam_optax._watch.state import WatchState as WatchState
from adam_optax._watch.transform import Watch as Watch
from adam_optax._watch.transform import watch as watch
