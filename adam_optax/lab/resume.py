"""Keep the finished parts of a sweep on disk, so that a killed sweep resumes from them."""

import hashlib
import io
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adam_optax._core.files import read_regular
from adam_optax.lab.grid import Job
from adam_optax.lab.reports.files import write_file
from adam_optax.lab.task import Task

_NAMES = ("losses", "train_loss", "test_accuracy")
Arrays = tuple[NDArray[Any], ...]
"""Losses, training losses and test accuracy of the runs of a part, as in `_NAMES`."""


class FinishedParts:
    """Read and write the finished parts of one sweep in a directory.

    A part's file name is a hash of everything that its numbers follow from: problem, data, names
    of the optimisers, epochs, batch size, and the runs in the part. A user's own optimiser whose
    code changes under the same name is not noticed.

    Args:
        directory: Where the parts are; `None`: nothing is kept.
        task: The task of the sweep.
        optimizers: Names of the optimisers.
        epochs: Epochs of each run.
    """

    def __init__(
        self, directory: Path | None, task: Task, optimizers: Sequence[str], epochs: int
    ) -> None:
        self._directory, self._epochs, self._steps = directory, epochs, task.steps_per_epoch
        data = [zlib.crc32(np.asarray(a).tobytes()) for a in (*task.train, *task.test)]
        self._sweep = [task.problem.name, data, list(optimizers), epochs, task.batch_size]

    def load(self, jobs: Sequence[Job]) -> Arrays | None:
        """Return the results of these runs, or `None` if no whole file of them is there."""
        path = self._path(jobs)
        if path is None:
            return None
        try:
            with np.load(io.BytesIO(read_regular(path)), allow_pickle=False) as archive:
                arrays = tuple(archive[name] for name in _NAMES)
        except Exception:  # it is not there, or damaged: errors of a dozen kinds
            return None  # the part is trained again, and the file replaced
        return arrays if self._fit(arrays, len(jobs)) else None

    def _fit(self, arrays: Arrays, runs: int) -> bool:
        """Tell whether arrays could be the results of so many runs."""
        losses, train_loss, test_accuracy = arrays
        measured = [(runs, self._epochs), (runs, 1)]  # after every epoch, or after the last
        return (
            losses.shape == (runs, self._epochs * self._steps)
            and train_loss.shape in measured
            and test_accuracy.shape == (runs,)
            and all(array.dtype == np.float32 for array in arrays)
        )

    def save(self, jobs: Sequence[Job], arrays: Arrays) -> None:
        """Write the results of these runs, whole or not at all.

        Raises:
            LabError: If the file cannot be written.
        """
        path = self._path(jobs)
        if path is not None:
            buffer = io.BytesIO()
            losses, train_loss, test_accuracy = arrays
            np.savez(buffer, losses=losses, train_loss=train_loss, test_accuracy=test_accuracy)
            write_file(path, buffer.getvalue())

    def clear(self, parts: Sequence[Sequence[Job]]) -> None:
        """Remove the files of these parts, and the directory if nothing else is in it."""
        for jobs in parts:
            if path := self._path(jobs):
                path.unlink(missing_ok=True)
        if self._directory and self._directory.is_dir() and not any(self._directory.iterdir()):
            self._directory.rmdir()

    def _path(self, jobs: Sequence[Job]) -> Path | None:
        runs = [[job.optimizer, job.numbers, job.seed] for job in jobs]
        digest = hashlib.sha256(json.dumps([self._sweep, runs]).encode()).hexdigest()
        return None if self._directory is None else self._directory / f"part-{digest[:20]}.npz"
