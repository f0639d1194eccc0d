"""Check that the suite catches each planted fault, by the quick tests alone."""

import ast
import dataclasses
import importlib.util
import os
import pathlib
from collections.abc import Iterator

import pytest

from tests.faults import FAULTS, Fault, Judge, planted

EACH = pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])


@pytest.fixture(scope="session")
def judge() -> Iterator[Judge]:
    # With what the quick tests compiled: a fault changes little of it.
    with Judge(pathlib.Path(os.environ["JAX_COMPILATION_CACHE_DIR"])) as judge:
        yield judge


@pytest.mark.heavy
def test_what_catches_faults_passes_without_one(judge: Judge) -> None:
    assert not judge.control({fault.caught_by for fault in FAULTS})


@pytest.mark.heavy
@EACH
def test_fault_is_caught(fault: Fault, judge: Judge) -> None:
    if fault.needs and importlib.util.find_spec(fault.needs) is None:
        pytest.skip("pip install 'adam-optax[witness]'")
    assert judge.caught(fault)


@pytest.mark.heavy
@pytest.mark.parametrize("test", ["test_what_is_read_off_a_module[gone]", "test_gone"])
def test_a_fault_is_caught_though_the_test_that_it_names_is_gone(test: str, judge: Judge) -> None:
    (fault,) = (fault for fault in FAULTS if fault.name == "bytes on the chip counted")
    assert judge.caught(dataclasses.replace(fault, caught_by=test))


@EACH
def test_fault_can_still_be_planted(fault: Fault) -> None:
    path, text = planted(fault)
    right = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        compile(text, path, "exec")
        text, right = (ast.unparse(ast.parse(each)) for each in (text, right))
    assert text != right


@pytest.fixture
def package(tmp_path: pathlib.Path) -> pathlib.Path:
    """Write two modules, which define some names twice."""
    (tmp_path / "made" / "deep").mkdir(parents=True)
    (tmp_path / "made" / "one.py").write_text(
        '''"""Of numbers."""
FINEST = 1, 2
class Both:
    """Both."""
    stored: bool = True
    def term(self, a, b):
        """Their sum."""
        if a:
            a = 1
        return a * b  + ( a if
            a == "x" else b )
def root(x): return x + 1
'''
    )
    (tmp_path / "made" / "deep" / "__init__.py").write_text(
        "def root(x): return x + 2\n@overload\ndef of(x: int): ...\ndef of(x): return x + 3\n"
    )
    return tmp_path / "made"


@pytest.mark.parametrize(
    ("symbol", "right", "wrong", "line"),
    [
        ("FINEST", "(1,2)", "(2, 1)", "FINEST = (2, 1)"),
        ("Both.stored", "True", "False", "    stored: bool = False"),
        ("Both.stored", "stored: bool = True", "", "    pass"),
        ("Both.term", "a if a == 'x' else b", "b", "        return a * b + b"),
        ("Both.term", "a = 1", "a = 2; b = 2", "            b = 2"),
        ("Both", "a * b", "b", '        """Their sum."""'),
        ("one:root", "x + 1", "x", "    return x"),
        ("made.deep:root", "x + 2", "x", "    return x"),
        ("of", "x + 3", "x", "    return x"),
        ("made/one.py", "FINEST = 1", "# FINEST = 3", "# FINEST = 3, 2"),
    ],
)
def test_a_fault_is_planted(
    symbol: str, right: str, wrong: str, line: str, package: pathlib.Path
) -> None:
    _, text = planted(Fault("some fault", symbol, right, wrong), package)
    assert line in text.splitlines()


@pytest.mark.parametrize(
    ("symbol", "right", "wrong", "message"),
    [
        ("Both.factor", "a", "b", r"^some fault: there are 0 Both\.factor: .*made$"),
        ("two:root", "x", "1", "there are 0 two:root"),
        ("ep:root", "x", "1", "there are 0 ep:root"),
        ("root", "x", "1", r"2 root: .*deep/__init__\.py:1, .*one\.py:12$"),
        ("Both.term", "a * a", "b", r"'a \* a' is 0 times in Both\.term: .*one\.py$"),
        ("Both.term", "a", "b", r"'a' is 4 times in Both\.term: .*one\.py:8, "),
        ("Both.term", "a * b", "c * b", r"one\.py has no c$"),
        ("made/one.py", "a = 2", "", r"'a = 2' is 0 times in .*made/one\.py$"),
        ("made/one.py", "a", "", r"'a' is \d+ times in .*made/one\.py$"),
    ],
)
def test_a_fault_without_one_place_is_refused(
    symbol: str, right: str, wrong: str, message: str, package: pathlib.Path
) -> None:
    with pytest.raises(ValueError, match=message):
        planted(Fault("some fault", symbol, right, wrong), package)
