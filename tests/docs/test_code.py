"""Every Python block of the site's pages runs, in order, from an installed package alone."""

import ast
import json
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import jax
import pytest

from tests.docs import markdown, needs

IN_THIS_PROCESS = ("index", "reference/index")
"""Pages whose code takes a moment; that of all others runs in a process of its own, heavy."""
OF_EXTRAS = ("torch", "keras", "bitsandbytes", "equinox", "orbax", "haiku", "maxtext", "levanter")
NOT_A_READERS = ("tests", "benchmarks", "docs")
OF_NAMED_TUPLES = ("_replace", "_asdict", "_fields", "_make")
"""Public, though they begin with an underscore, so that they clash with no field."""
WITH_CODE = {
    markdown.name(path): code
    for path in markdown.pages()
    if (code := markdown.script(path.read_text(encoding="utf-8")))
}


@pytest.mark.quick
@pytest.mark.parametrize("page", IN_THIS_PROCESS)
def test_code_runs(page: str) -> None:
    scope: dict[str, Any] = {}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        exec(compile(WITH_CODE[page], f"docs/{page}.md", "exec"), scope)
    assert "ao" in scope


@pytest.fixture(scope="module")
def forks() -> Iterator["subprocess.Popen[str]"]:
    """Start a process whose forks run pages."""
    path = os.pathsep.join([str(markdown.ROOT), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [sys.executable, "-P", pathlib.Path(__file__).with_name("forks.py")],
        env={**os.environ, "PYTHONPATH": path, "MPLBACKEND": "agg"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def run(code: str, folder: pathlib.Path, forks: "subprocess.Popen[str]") -> tuple[int, str]:
    """Run a program as if in a process of its own; return its exit status, and what it said."""
    program, output = folder / "page.py", folder.with_name(f"{folder.name}.txt")
    program.write_text(code, encoding="utf-8")
    assert forks.stdin is not None
    assert forks.stdout is not None
    print(json.dumps([str(program), str(folder), str(output)]), file=forks.stdin, flush=True)
    return int(forks.stdout.readline()), output.read_text(encoding="utf-8")


@pytest.mark.heavy
@pytest.mark.parametrize("page", sorted(WITH_CODE.keys() - set(IN_THIS_PROCESS)))
def test_code_runs_as_in_a_fresh_process(
    page: str, tmp_path: pathlib.Path, forks: "subprocess.Popen[str]"
) -> None:
    status, said = run(WITH_CODE[page], tmp_path, forks)  # a page may write files
    missing = re.search(r"No module named '(\w+)", said)
    if status and missing and missing[1] in OF_EXTRAS:
        needs.lack(f"docs/{page}.md needs {missing[1]}")
    said = said.replace(str(tmp_path / "page.py"), f"docs/{page}.md")
    assert status == 0, f"docs/{page}.md:\n{said}"


@pytest.mark.heavy
def test_pages_leave_each_other_alone(
    tmp_path: pathlib.Path, forks: "subprocess.Popen[str]"
) -> None:
    change = "import jax\njax.config.update('jax_enable_x64', True)\njax.leaked = 1\n"
    change += "assert jax.numpy.ones(1).dtype == 'float64'\n"
    look = "import jax\nassert not hasattr(jax, 'leaked')\n"
    look += "assert jax.numpy.ones(1).dtype == 'float32'\n"
    assert [run(code, tmp_path, forks) for code in (change, look)] == [(0, "")] * 2
    status, said = run("\nraise ValueError('planted')\n", tmp_path, forks)
    assert status == 1
    assert f'File "{tmp_path / "page.py"}", line 2' in said
    assert run("import sys; sys.exit(0)", tmp_path, forks)[0] == 1


def _not_a_readers(code: str) -> Iterator[str]:
    """Yield what a reader has not installed, or may not rely on."""
    for node in ast.walk(ast.parse(code)):
        imported = []
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in imported:
            ours, *rest = name.split(".")
            if ours in NOT_A_READERS or (ours == "adam_optax" and any(r[0] == "_" for r in rest)):
                yield name
        if isinstance(node, ast.Attribute) and re.fullmatch(r"_[a-z]\w*", node.attr):
            yield from [f".{node.attr}"] * (node.attr not in OF_NAMED_TUPLES)


@pytest.mark.quick
def test_code_uses_what_readers_have() -> None:
    found = {page: bad for page, code in WITH_CODE.items() if (bad := [*_not_a_readers(code)])}
    assert not found


@pytest.mark.quick
def test_what_readers_lack_is_seen() -> None:
    code = "from adam_optax._core import checks\nimport tests.support\nx = tx._state\n"
    assert [*_not_a_readers(code)] == ["adam_optax._core.checks", "tests.support", "._state"]


@pytest.mark.quick
def test_blocks_keep_their_lines_and_those_in_tabs_count() -> None:
    page = "# A\n\n```python\nx = 1\n```\n\n::::{tab-set}\n:::{tab-item} B\n"
    page += "  ```python\n  y = x\n  ```\n:::\n::::\n\n```sh\nnot python\n```\n"
    assert markdown.script(page).splitlines() == ["", "", "", "x = 1", "", "", "", "", "", "y = x"]
