"""Build the site once for all tests that look at it."""

import contextlib
import fcntl
import functools
import http.server
import importlib.util
import os
import pathlib
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.docs import markdown, needs

EXTRA = ("sphinx", "sphinx_book_theme", "myst_nb", "sphinx_copybutton", "sphinx_design", "mathjax")
SITE = markdown.DOCS / "_build" / "html"


@pytest.fixture(scope="session")
def site() -> pathlib.Path:
    """Build the site, with warnings as errors, and return its folder."""
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        needs.lack(f"{', '.join(missing)} missing: pip install 'adam-optax[docs]'")
    SITE.parent.mkdir(exist_ok=True)
    this_run = os.environ.get("PYTEST_XDIST_TESTRUNUID", "")
    with (SITE.parent / "lock").open("a+") as lock:  # of the workers of one run the first builds
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        if this_run and lock.read() == this_run:
            return SITE
        lock.truncate(0)
        command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "docs", str(SITE)]
        done = subprocess.run(
            command, cwd=markdown.ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        lock.write(this_run)
    return SITE


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def served(folder: pathlib.Path) -> Iterator[str]:
    """Serve a folder on this machine, and return its address."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="session")
def address(site: pathlib.Path) -> Iterator[str]:
    """Serve the site, and return its address."""
    with served(site) as address:
        yield address
