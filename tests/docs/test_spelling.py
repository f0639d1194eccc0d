"""Words are spelt right, and as in Britain: on the site, in README, docstrings and notebooks."""

import pathlib
import re
import shutil
import subprocess
import sysconfig

import pytest

from tests.docs import markdown, needs, prose

pytestmark = pytest.mark.quick
ROOT = markdown.ROOT
WORDS = pathlib.Path(__file__).with_name("typos.toml")
FOUND = re.compile(r"^(?P<file>.+)\.txt:(?P<line>\d+):\d+: (?:error: )?(?P<what>.+)$", re.MULTILINE)


def readers_files() -> list[pathlib.Path]:
    """Return the files that readers read, without those that a build writes."""
    found = [*markdown.pages(), *ROOT.glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
    return found + [p for folder in ("adam_optax", "docs") for p in (ROOT / folder).rglob("*.py")]


def misspelt(said: dict[str, str], folder: pathlib.Path) -> list[str]:
    """Return place and word of each misspelling, as typos finds them.

    Args:
        said: the words of each file, by its name.
        folder: an empty folder to write them to.
    """
    typos = shutil.which("typos", path=sysconfig.get_path("scripts")) or shutil.which("typos")
    if typos is None:
        needs.lack("typos missing: pip install 'adam-optax[test]'")
    for name, text in said.items():
        file = folder / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    command = [typos, "--isolated", "--config", str(WORDS), "--format", "brief", "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    found = [
        f"{pathlib.PurePath(match['file']).as_posix()}:{match['line']}: {match['what']}"
        for match in FOUND.finditer(done.stdout)
    ]
    assert (done.returncode != 0) == bool(found), done.stdout + done.stderr
    return sorted(found)


def test_words_are_spelt_right(tmp_path: pathlib.Path) -> None:
    said = {str(path.relative_to(ROOT)): prose.of(path) for path in readers_files()}
    found = misspelt(said, tmp_path)
    assert not found, "\n".join(found)


def test_a_misspelt_word_is_seen(tmp_path: pathlib.Path) -> None:
    page = "# A page\n\nIt will recieve `recieve` a color.\n\n```python\nrecieve = 1\n```\n"
    (tmp_path / "page.md").write_text(page)
    module = '"""Do teh work, with $teh$.\n\n>>> teh\nteh\n"""\n\nteh = 1  # occured\n'
    (tmp_path / "module.py").write_text(module)
    said = {name: prose.of(tmp_path / name) for name in ("page.md", "module.py")}
    found = [line.partition(" should")[0] for line in misspelt(said, tmp_path / "words")]
    assert found == [
        "module.py:1: `teh`",
        "module.py:7: `occured`",
        "page.md:3: `color`",
        "page.md:3: `recieve`",
    ]


def test_only_words_are_left() -> None:
    text = (
        'An `a b`, ``c`` and $d$ of [e, f](https://g.h) in [i](j.md): "k", {py:obj}`l`\n\n>>> m\n'
    )
    left = ["An", ",", "and", "of", "in", "[i", ":", ","]
    assert prose.words(text).replace("¦", "").split() == left
