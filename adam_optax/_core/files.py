"""Write files so that a crash or a full disk leaves the old file, not half a new one."""

import os
import secrets
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside the file and rename, so that readers see the old or the new one."""
    beside = temporary(path.parent)
    try:
        with beside.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def temporary(directory: Path) -> Path:
    """Create an empty file of a new name in a directory."""
    path = directory / f".adam-optax-{secrets.token_hex(8)}.tmp"
    # Opened by hand: `tempfile` would make the results readable by their owner alone.
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return path
