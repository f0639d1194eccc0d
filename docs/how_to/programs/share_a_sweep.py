"""Sweep the digits with two processes."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from adam_optax import lab

if __name__ == "__main__":  # the processes import this file, too
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as executor:
        found = lab.sweep(
            "digits", "adam", {"learning_rate": [1e-3, 1e-2]}, epochs=3, executor=executor
        )
    print(found.best().numbers)
