"""Keep finished work on disk, so that what was killed goes on to the same numbers.

A file's name is a hash of everything that the numbers in it follow from: problem, data, optimisers,
epochs, batch size, seeds, and the versions and the platform that compute. So files of another run
are never taken, and a damaged file is as good as none.
"""

import dataclasses
import hashlib
import io
import json
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import serialization
from numpy.typing import NDArray

from adam_optax import __version__
from adam_optax._core.files import read_regular
from adam_optax.lab.grid import Job
from adam_optax.lab.reports.files import write_file
from adam_optax.lab.run import Epoch
from adam_optax.lab.task import Task

_NAMES = ("losses", "train_loss", "test_accuracy")
_PATIENCE = 10
"""A checkpoint is written when the training since the last one took so many times its time."""
Arrays = tuple[NDArray[Any], ...]
"""Losses, training losses and test accuracy of the runs of a part, as in `_NAMES`."""


class _Folder:
    """Name the files of some work in a folder.

    Args:
        directory: The folder; `None`: nothing is kept.
        task: The task.
        facts: What else the numbers follow from, as JSON holds it.
    """

    def __init__(self, directory: Path | str | None, task: Task, facts: Sequence[object]) -> None:
        self._directory = None if directory is None else Path(directory)
        self._facts: list[object] = [] if directory is None else [*made_by(task), *facts]

    def path(self, kind: str, *facts: object) -> Path | None:
        """Return the path of a file that holds numbers of these facts; `None` if none is kept."""
        if self._directory is None:
            return None
        text = json.dumps([kind, self._facts, facts])
        digest = hashlib.sha256(text.encode()).hexdigest()
        return self._directory / f"{kind}-{digest[:20]}"


def made_by(task: Task) -> list[object]:
    """Return what all numbers of a task follow from."""
    versions = [__version__, jax.__version__, jax.default_backend()]
    return [task.problem.name, task.checksums, task.batch_size, versions]


class FinishedParts:
    """Read and write the finished parts of one sweep in a directory.

    A user's own optimiser whose code changes under the same name is not noticed.

    Args:
        directory: Where the parts are; `None`: nothing is kept.
        task: The task of the sweep.
        optimizers: Names of the optimisers.
        epochs: Epochs of each run.
        measured: How many times the loss of the whole training set is measured in each run.
    """

    def __init__(
        self,
        directory: Path | str | None,
        task: Task,
        optimizers: Sequence[str],
        epochs: int,
        measured: int,
    ) -> None:
        self._steps, self._measured = epochs * task.steps_per_epoch, measured
        self._folder = _Folder(directory, task, [list(optimizers), epochs, measured])

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
        return (
            losses.shape == (runs, self._steps)
            and train_loss.shape == (runs, self._measured)
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

    def _path(self, jobs: Sequence[Job]) -> Path | None:
        runs = [[job.optimizer, job.numbers, job.seed] for job in jobs]
        return self._folder.path("part", runs)


class Checkpoints:
    """Read and write the epochs of one run, and the parameters and the state after the last.

    Writing takes at most a tenth of the time: a run that is killed loses the epochs since the last
    checkpoint, and no more than ten times what a checkpoint takes to write.

    Args:
        directory: Where the file is; `None`: nothing is kept.
        task: The task of the run.
        facts: What else the run follows from: optimiser, hyper-parameters, epochs, seed.
    """

    def __init__(self, directory: Path | str | None, task: Task, facts: Sequence[object]) -> None:
        self._path = _Folder(directory, task, facts).path("run")
        self._steps = task.steps_per_epoch
        self._written, self._took = time.monotonic(), 0.0

    def load(self, like: Any) -> tuple[list[Epoch], Any] | None:
        """Return the epochs and the arrays after the last; `None` if no whole file is there.

        Args:
            like: A tree of arrays of the same shapes and dtypes.
        """
        if self._path is None:
            return None
        try:
            content = read_regular(self._path)
            if zlib.crc32(content[4:]).to_bytes(4, "big") != content[:4]:
                return None
            found = serialization.msgpack_restore(content[4:])
            epochs = [Epoch(**fields) for fields in found["epochs"].values()]
            tree = _from_arrays(list(found["arrays"].values()), like)
        except Exception:  # it is not there, or of another version: errors of a dozen kinds
            return None
        return epochs, tree

    def save(self, epochs: Sequence[Epoch], tree: Any, now: bool = False) -> None:
        """Write the epochs, and the arrays after the last, if it is time to.

        Args:
            epochs: The finished epochs.
            tree: The tree of arrays after the last of them.
            now: Whether to write without a look at the time.

        Raises:
            LabError: If the file cannot be written.
        """
        begin = time.monotonic()
        if self._path is None or not (now or begin - self._written > _PATIENCE * self._took):
            return
        fields = {f"{i:09}": dataclasses.asdict(epoch) for i, epoch in enumerate(epochs)}
        arrays = {f"{i:09}": array for i, array in enumerate(to_arrays(tree))}
        content = serialization.msgpack_serialize({"epochs": fields, "arrays": arrays})
        write_file(self._path, zlib.crc32(content).to_bytes(4, "big") + content)
        self._written = time.monotonic()
        self._took = self._written - begin


def to_arrays(tree: Any) -> list[NDArray[Any]]:
    """Return the leaves of a tree as NumPy's arrays, random keys as their data."""
    return [np.asarray(_data(leaf)) for leaf in jax.tree.leaves(tree)]


def _from_arrays(arrays: Sequence[NDArray[Any]], like: Any) -> Any:
    """Return a tree like another with the arrays as leaves.

    Raises:
        ValueError: If they are not those of such a tree.
    """
    leaves, structure = jax.tree.flatten(like)
    made = []
    for array, leaf in zip(arrays, leaves, strict=True):
        data = _data(leaf)
        if array.shape != data.shape or array.dtype != data.dtype:
            raise ValueError(f"{array.dtype}{array.shape} in place of {data.dtype}{data.shape}")
        placed = jax.device_put(array)
        is_key = data is not leaf
        made.append(jax.random.wrap_key_data(placed, impl=_impl(leaf)) if is_key else placed)
    return jax.tree.unflatten(structure, made)


def _data(leaf: Any) -> Any:
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if is_key else leaf


def _impl(leaf: Any) -> Any:
    return jax.random.key_impl(leaf)
