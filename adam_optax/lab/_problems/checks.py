"""Hold a problem to what a training needs, so that a user's own problem is refused in one line."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from adam_optax._core.user_code import describe
from adam_optax.lab._problems.problem import Data, Problem
from adam_optax.lab.errors import DataError, LabError


@contextmanager
def reported(problem: Problem, what: str) -> Iterator[None]:
    """Report what a problem's own code raises in the body.

    Args:
        problem: The problem.
        what: What cannot be done if the code raises.

    Raises:
        LabError: If the body raises; the lab's own errors are left as they are.
    """
    try:
        yield
    except (LabError, MemoryError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # a SystemExit among others
        raise LabError(f"problem {problem.name!r}: {what}: {describe(error)}") from error


def load_data(problem: Problem, data_dir: Path | None) -> Data:
    """Load a problem's data.

    Raises:
        DataError: If the data is missing or damaged, or is not what `Data` describes.
        LabError: If the problem's code raises another error, or its numbers are out of range.
    """
    _check_numbers(problem)
    with reported(problem, "its data cannot be loaded"):
        data = problem.load(data_dir)
    if not isinstance(data, Data):
        raise DataError(
            f"problem {problem.name!r}: load returned no lab.Data but {type(data).__name__}"
        )
    for part in ("train", "test"):
        with reported(problem, f"{part}_x and {part}_y must be arrays"):
            x, y = (np.shape(getattr(data, f"{part}_{name}")) for name in "xy")
        if not (x and y and x[0] == y[0] > 0):
            raise DataError(
                f"problem {problem.name!r}: {part}_x and {part}_y must have a label for each of at "
                f"least one example, not shapes {x} and {y}"
            )
    return data


def _check_numbers(problem: Problem) -> None:
    name = problem.name
    if not (isinstance(name, str) and name):
        raise LabError(f"a problem's name must be a text that is not empty, not {name!r}")
    for field in ("batch_size", "epochs"):
        count = getattr(problem, field)
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise LabError(f"problem {name!r}: {field} must be an integer from 1, not {count!r}")
    for field in ("learning_rate", "target_loss"):
        value = getattr(problem, field)
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise LabError(f"problem {name!r}: {field} must be a finite number, not {value!r}")
