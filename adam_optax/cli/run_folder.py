"""Give every run a folder of its own, and keep what is finished of a run until the run is."""

import contextlib
import datetime
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from adam_optax._core.files import read_regular
from adam_optax.lab.errors import LabError
from adam_optax.lab.reports.files import check_writable, make_folder, write_file

if sys.platform != "win32":
    import fcntl

_RECORD = "run.json"
_PARTS = "-parts"
_LATEST = "latest"
_NOT_OF_THE_RUN = ("command", "out", "resume", "quiet", "on", "retries")
"""Arguments that change no number."""


@dataclass(frozen=True)
class RunFolder:
    """Name where a run's results go, and where its finished parts are until then.

    Attributes:
        results: The folder of the results: `NAME-DATE-TIME` in `--out`.
        parts: The folder of the finished parts, `NAME-DATE-TIME-parts`; gone once the run is done.
    """

    results: Path
    parts: Path

    @property
    def is_empty(self) -> bool:
        """Return whether nothing of the run is kept."""
        with contextlib.suppress(OSError):  # it is not there any more
            return [path.name for path in self.parts.iterdir()] == [_RECORD]
        return True

    def to_go_on(self) -> str:
        """Say how a stopped run goes on, or that nothing of the run is kept."""
        if self.is_empty:
            return "nothing is kept"
        return f"the same command with --resume goes on from {self.parts}"

    def finish(self) -> None:
        """Point `latest` to a run whose results are written, and remove its parts.

        The parts are removed last: a run that is killed before goes on, and ends at once. Where the
        system has no symbolic links, nothing points to the run.
        """
        beside = self.results.with_name(f".{_LATEST}-{secrets.token_hex(8)}")
        link = self.results.with_name(_LATEST)
        with contextlib.suppress(OSError, NotImplementedError):
            if link.is_symlink() or not link.exists():  # a folder of the user's own stays
                beside.symlink_to(self.results.name, target_is_directory=True)
                os.replace(beside, link)
        shutil.rmtree(self.parts, ignore_errors=True)


@contextlib.contextmanager
def run_folder(args: SimpleNamespace, stem: str, names: Sequence[str]) -> Iterator[RunFolder]:
    """Choose the folder of a run, or with `--resume` find that of the newest unfinished one.

    A run of which nothing is kept when the body ends leaves nothing behind.

    Args:
        args: The arguments of the command.
        stem: Beginning of the folder's name.
        names: Names of the files of the results.

    Raises:
        LabError: If no run of the same arguments is unfinished, or nothing can be written.
    """
    check_writable(args.out / stem, names)
    arguments = {k: _plain(v) for k, v in vars(args).items() if k not in _NOT_OF_THE_RUN}
    made_by = {"command": args.command, "arguments": arguments}
    target = Path(os.path.realpath(args.out))  # where a link leads to, if it is one
    above = [path for path in (target, *target.parents) if not path.exists()]
    with contextlib.ExitStack() as held:
        if args.resume:
            folder = _unfinished(args.out, stem, made_by, held)
        else:
            folder = _new(args.out, stem, made_by, held)
        try:
            yield folder
        finally:
            _remove_empty(folder, above)


def _plain(value: object) -> object:
    """Return an argument as JSON holds it."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _new(
    out: Path, stem: str, made_by: Mapping[str, object], held: contextlib.ExitStack
) -> RunFolder:
    """Make the folder of a new run's parts, under a name that no other run has."""
    make_folder(Path(os.path.realpath(out)))
    now = datetime.datetime.now().astimezone()
    name = first = f"{stem}-{now:%Y-%m-%dT%H-%M-%S}"
    number = 1
    while True:
        folder = RunFolder(out / name, out / f"{name}{_PARTS}")
        if not os.path.lexists(folder.results):
            with contextlib.suppress(FileExistsError):
                folder.parts.mkdir()
                break
        number += 1
        name = f"{first}-{number}"
    record = {**made_by, "started": f"{now:%Y-%m-%d %H:%M:%S%z}"}
    write_file(folder.parts / _RECORD, json.dumps(record, indent=1).encode())
    _lock(folder.parts, held)
    return folder


def _unfinished(
    out: Path, stem: str, made_by: Mapping[str, object], held: contextlib.ExitStack
) -> RunFolder:
    """Find the newest run of the same arguments that is unfinished, and that no process runs.

    Raises:
        LabError: If there is none.
    """
    others, running = [], []
    for parts in sorted(_folders(out, stem), key=_begun, reverse=True):
        record = _record(parts)
        if record.get("command") != made_by["command"]:
            continue
        if record.get("arguments") != made_by["arguments"]:
            others.append(parts.name)
        elif _lock(parts, held):
            results = parts.with_name(parts.name.removesuffix(_PARTS))
            return RunFolder(results, parts)
        else:
            running.append(parts.name)
    said = f"no run of this command line in {out} is unfinished"
    if running:
        said += f" (but for {running[0]}, which is running)"
    if others:
        said += f" ({others[0]} is of other arguments: see its {_RECORD})"
    raise LabError(f"{said}; leave --resume out to begin one")


def _folders(out: Path, stem: str) -> Iterator[Path]:
    """Yield the folders of unfinished runs."""
    with contextlib.suppress(OSError):
        for path in out.iterdir():
            if path.name.startswith(f"{stem}-") and path.name.endswith(_PARTS):
                yield path


def _begun(parts: Path) -> int:
    """Return when a run began: its record is written once."""
    with contextlib.suppress(OSError):
        return (parts / _RECORD).stat().st_mtime_ns
    return 0


def _record(parts: Path) -> dict[str, object]:
    """Return what is recorded of a run; nothing if the record is not there, or damaged."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(read_regular(parts / _RECORD, 2**20))
        if isinstance(found, dict):
            return found
    return {}


def _lock(parts: Path, held: contextlib.ExitStack) -> bool:
    """Lock a run until a stack unwinds; return False if another process has the lock."""
    if sys.platform == "win32":
        return True
    try:
        stream = held.enter_context((parts / _RECORD).open("rb"))
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # of a file system without locks
        return True
    return True


def _remove_empty(folder: RunFolder, above: Sequence[Path]) -> None:
    """Remove the folder of a run of which nothing is kept, and those above that were not there."""
    with contextlib.suppress(OSError):
        if folder.is_empty:
            shutil.rmtree(folder.parts)
    with contextlib.suppress(OSError):  # one is not empty
        for path in above:
            path.rmdir()
