"""Train as Keras's users do: `compile` with an optimiser that has a schedule, and `fit`."""

from typing import Any

import keras

import adam_optax as ao  # noqa: F401  # for the line that is switched
from adam_optax.conventions import KERAS  # noqa: F401
from tests.programs.program import STEPS, X, Y


class Losses(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is untyped
    """Keep the loss of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[float] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keep the loss."""
        self.all.append(float(logs["loss"]))


def main() -> tuple[list[float], Any]:
    """Return the losses of a run, and the state of the optimiser."""
    keras.utils.set_random_seed(0)
    hidden = keras.layers.Dense(8, "tanh", name="hidden")
    model = keras.Sequential([keras.Input((6,)), hidden, keras.layers.Dense(2, name="head")])
    rate = keras.optimizers.schedules.CosineDecay(1e-2, STEPS, 0.1)
    model.compile(keras.optimizers.AdamW(rate), loss="mse")
    kept = Losses()
    model.fit(X, Y, batch_size=len(X), epochs=STEPS, shuffle=False, verbose=0, callbacks=[kept])
    return kept.all, model.optimizer.variables
