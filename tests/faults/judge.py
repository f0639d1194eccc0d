"""Tell which test catches a fault: run the quick tests on a copy of the package that has it."""

import ast
import contextlib
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator

from tests.faults.anchor import PACKAGE, Fault, planted

ROOT = PACKAGE.parent
SERVER = pathlib.Path(__file__).with_name("server.py")
FAILED, NOT_FOUND, NONE_SELECTED = 1, 4, 5  # what pytest returns
NONE = Fault("no fault", symbol="", right="", wrong="")
"""Every module of the copy is written back from its tree, and nothing is wrong."""


def copy(into: pathlib.Path) -> None:
    """Copy the package, the tests and the site's sources to a folder."""
    made = shutil.ignore_patterns("__pycache__", "_build", "generated")
    for part in (PACKAGE.name, "tests", "docs", "notebooks", "benchmarks"):
        shutil.copytree(ROOT / part, into / part, ignore=made)
    for name in ("pyproject.toml", "LICENSE", "CITATION.cff", "adam_optax_command.py"):
        shutil.copy(ROOT / name, into)
    for path in ROOT.glob("*.md"):
        shutil.copy(path, into)


@contextlib.contextmanager
def plant(fault: Fault, folder: pathlib.Path) -> Iterator[None]:
    """Put a fault into its file of a copy, for as long as the context lasts."""
    path, text = planted(fault)
    path = folder / path.relative_to(ROOT)
    right = path.read_text(encoding="utf-8")
    # Python tells by a module's second and size whether what it compiled is still true.
    compiled = pathlib.Path(importlib.util.cache_from_source(str(path)))
    try:
        path.write_text(text, encoding="utf-8")
        compiled.unlink(missing_ok=True)
        yield
    finally:
        path.write_text(right, encoding="utf-8")
        compiled.unlink(missing_ok=True)


class Judge:
    """Run pytest on copies of the package, each in a fork of one process that has JAX imported.

    Most of a fault's time would else be spent on starting Python and on imports.

    Args:
        cache: a folder for compiled programs, which the faults share.
    """

    def __init__(self, cache: pathlib.Path) -> None:
        every = {"MIN_COMPILE_TIME_SECS": "0", "MIN_ENTRY_SIZE_BYTES": "-1"}
        keeps = {f"JAX_PERSISTENT_CACHE_{name}": value for name, value in every.items()}
        cached = {"JAX_COMPILATION_CACHE_DIR": str(cache)} | keeps
        self._copies = tempfile.TemporaryDirectory()
        self._server = subprocess.Popen(
            [sys.executable, "-P", SERVER],  # -P: `tests` is to be the copy's
            env=os.environ | {"JAX_PLATFORMS": "cpu"} | cached,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Judge":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate()
        self._copies.cleanup()

    def caught(self, fault: Fault) -> str:
        """Return the first test that fails, or an empty string if the quick tests pass.

        The test that is known to catch the fault comes first, which `control` runs, too; then those
        beside it, and all where that test is in no file: what fails there must pass without a
        fault, for it would else catch anything.
        """
        folder = self._copy("faults")
        with plant(fault, folder):
            beside = _files(fault.caught_by, folder)
            for path in beside:
                known = [f"{path}::{fault.caught_by}"]
                if failed := self._failed(fault, folder, known, may_be_gone=True):
                    return failed
            failed = self._failed(fault, folder, beside or ["tests"])
        return failed if failed and not self._without_a_fault([failed.partition(" - ")[0]]) else ""

    def control(self, tests: Iterable[str]) -> str:
        """Return the first of some quick tests, in all of their cases, that fails without a fault.

        A test that fails there catches nothing; an empty string: none does.
        """
        names = sorted({test.partition("[")[0] for test in tests if test})
        files = {path for name in names for path in _files(name, ROOT)}
        return self._without_a_fault([*sorted(files), "-k", " or ".join(names)])

    def _without_a_fault(self, tests: list[str]) -> str:
        """Return the first test that fails on a copy without a fault, or an empty string."""
        folder = self._copy("none")
        for path in (folder / PACKAGE.name).rglob("*.py"):
            path.write_text(ast.unparse(ast.parse(path.read_text())) + "\n")
        return self._failed(NONE, folder, tests)

    def _copy(self, name: str) -> pathlib.Path:
        """Return a copy that the runs on it share: to make one takes longer than most runs."""
        folder = pathlib.Path(self._copies.name, name)
        if not folder.exists():
            folder.mkdir()
            copy(folder)
        return folder

    def _failed(
        self, fault: Fault, folder: pathlib.Path, tests: list[str], may_be_gone: bool = False
    ) -> str:
        code, output = self._run(folder, tests)
        if code == 0 or (may_be_gone and code in (NOT_FOUND, NONE_SELECTED)):
            return ""
        failed = re.search(r"^(?:FAILED|ERROR) (.*)$", output, re.MULTILINE)
        if code == FAILED and failed:
            return failed[1]
        raise RuntimeError(f"{fault.name}: the tests did not run ({code}):\n{output}")

    def _run(self, folder: pathlib.Path, tests: list[str]) -> tuple[int, str]:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        output = folder / "output.txt"
        print(json.dumps([str(folder), str(output), *tests]), file=self._server.stdin, flush=True)
        return int(self._server.stdout.readline()), output.read_text()


def _files(test: str, folder: pathlib.Path) -> list[str]:
    """Find the files that define a test."""
    start = f"def {test.partition('[')[0]}("
    paths = sorted((folder / "tests").rglob("test_*.py")) if test else []
    return [str(path.relative_to(folder)) for path in paths if start in path.read_text()]
