"""List the built-in problems, and find a problem by its name."""

from functools import partial
from pathlib import Path

import numpy as np

from adam_optax._core.user_code import UserCodeError, user_function
from adam_optax.lab._problems import cifar, imdb, mnist, shakespeare
from adam_optax.lab._problems.models import CNN, MLP, Logistic, Transformer
from adam_optax.lab._problems.problem import Data, Problem
from adam_optax.lab.errors import DataError, LabError, needs_lab_extra

_DIGITS_TRAIN = 1500


def find_problem(problem: str | Problem) -> Problem:
    """Find a problem by its name.

    Args:
        problem: The name of one of `problems`; or `module:function`, the caller's own function
            without arguments that returns a `Problem`, whose code is run; or a `Problem`, which is
            returned as it is. The module is also looked for in the current directory, after all
            other places.

    Raises:
        LabError: If there is no such problem, or the function did not return a `Problem`.
    """
    if isinstance(problem, Problem):
        return problem
    if problem in problems:
        return problems[problem]
    if ":" not in problem:
        known = ", ".join(problems)
        raise LabError(f"unknown problem {problem!r}; known: {known}, and module:function")
    return _call_function(problem)


def _call_function(name: str) -> Problem:
    try:
        with user_function(name) as function:
            found = function()
    except UserCodeError as error:
        raise LabError(f"problem {name!r} cannot be made: {error}") from error
    if not isinstance(found, Problem):
        raise LabError(f"{name!r} returned no lab.Problem but {type(found).__name__}")
    return found


def _load_digits(data_dir: Path | None) -> Data:
    if data_dir is not None:
        raise DataError("digits comes with scikit-learn: leave the data directory out")
    with needs_lab_extra("the digits problem"):
        from sklearn.datasets import load_digits
    x, y = load_digits(return_X_y=True)
    # The file is ordered by writer: without shuffling, other writers would be in the test set.
    order = np.random.default_rng(0).permutation(len(x))
    x, y = (x[order] / 16).astype(np.float32), y[order].astype(np.int32)
    n = _DIGITS_TRAIN
    return Data(x[:n], y[:n], x[n:], y[n:])


problems: dict[str, Problem] = {
    problem.name: problem
    for problem in (
        Problem(
            name="digits",
            description="1,797 handwritten digits of 8x8 pixels, embedded; MLP 64-64-10",
            load=_load_digits,
            model=partial(MLP, (64,), 10),
            batch_size=50,
            epochs=30,
            target_loss=0.1,
            learning_rate=1e-2,
        ),
        Problem(
            name="mnist",
            description="70,000 handwritten digits of 28x28 pixels; MLP 784-128-128-10",
            load=mnist.load,
            model=partial(MLP, (128, 128), 10),
            batch_size=128,
            epochs=3,
            target_loss=0.1,
            learning_rate=1e-3,
        ),
        Problem(
            name="imdb",
            description="reviews as bags of 10,000 words; logistic regression with 50 % dropout",
            load=imdb.load,
            model=partial(Logistic, 2, 0.5),
            batch_size=128,
            epochs=5,
            target_loss=0.3,
            learning_rate=1e-3,
        ),
        Problem(
            name="cifar10",
            description="photographs of 32x32 pixels; the Adam paper's CNN, c64-c64-c128-1000",
            load=cifar.load,
            model=CNN,
            batch_size=128,
            epochs=3,
            target_loss=1.0,
            learning_rate=1e-3,
        ),
        Problem(
            name="shakespeare",
            description="text, byte by byte; transformer of two layers, 64 wide, on 64 bytes",
            load=shakespeare.load,
            model=Transformer,
            batch_size=32,
            epochs=1,
            target_loss=2.0,
            learning_rate=3e-3,
        ),
    )
}
"""The built-in problems by name."""
