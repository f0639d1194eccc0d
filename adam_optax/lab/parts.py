"""Finished parts of a sweep on the disk, so that one that was killed goes on where it was."""

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adam_optax.lab.files import write_all
from adam_optax.lab.settings import Job
from adam_optax.lab.task import Task

_NAMES = ("losses", "train_loss", "test_accuracy")
Arrays = tuple[NDArray[Any], ...]


class Parts:
    """The directory of the finished parts of one sweep; without one, nothing is kept.

    A part is known by all that its numbers follow from: problem, data, optimisers by name, epochs,
    batch size, and the runs in it. An optimiser of the user's own whose name stays the same while
    its code changes is not noticed.
    """

    def __init__(
        self, directory: Path | None, task: Task, optimizers: Sequence[str], epochs: int
    ) -> None:
        self._directory = directory
        data = [zlib.crc32(np.asarray(a).tobytes()) for a in (*task.train, *task.test)]
        self._sweep = [task.problem.name, data, list(optimizers), epochs, task.batch_size]

    def load(self, jobs: Sequence[Job]) -> Arrays | None:
        """What was found for these runs, if it is there and whole."""
        path = self._path(jobs)
        if path is None or not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as archive:
                return tuple(archive[name] for name in _NAMES)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None  # written by something else: trained again, and replaced

    def save(self, jobs: Sequence[Job], arrays: Arrays) -> None:
        """Keeps what was found, whole or not at all.

        Raises:
          LabError: If it cannot be written.
        """
        path = self._path(jobs)
        if path is not None:
            buffer = io.BytesIO()
            losses, train_loss, test_accuracy = arrays
            np.savez(buffer, losses=losses, train_loss=train_loss, test_accuracy=test_accuracy)
            write_all(path.parent, {path.name: buffer.getvalue()})

    def clear(self, parts: Sequence[Sequence[Job]]) -> None:
        """Removes these parts, and the directory if nothing else is in it."""
        for jobs in parts:
            if path := self._path(jobs):
                path.unlink(missing_ok=True)
        if self._directory and self._directory.is_dir() and not any(self._directory.iterdir()):
            self._directory.rmdir()

    def _path(self, jobs: Sequence[Job]) -> Path | None:
        runs = [[job.optimizer, job.numbers, job.seed] for job in jobs]
        digest = hashlib.sha256(json.dumps([self._sweep, runs]).encode()).hexdigest()
        return None if self._directory is None else self._directory / f"part-{digest[:20]}.npz"
