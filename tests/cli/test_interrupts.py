"""Check that Ctrl-C is answered at once, never lost, and leaves XLA alone while it works."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adam_optax.cli.interrupts import Interrupts, answered
from tests.adversary import stops

ROOT = Path(__file__).parents[2]


def press(name: str = "f", module: str = __name__) -> Callable[[], None]:
    """Return a function of such a name, in such a module, during which Ctrl-C is pressed."""
    scope: dict[str, Any] = {"__name__": module, "os": os, "signal": signal}
    exec(f"def {name}():\n os.kill(os.getpid(), signal.SIGINT)\n for _ in range(99): pass", scope)
    found: Callable[[], None] = scope[name]
    return found


@pytest.mark.quick
@pytest.mark.parametrize(
    ("module", "in_xla"),
    [("jax._src.compiler", True), ("adam_optax.lab.trainer", True), ("matplotlib.figure", False)],
)
def test_where_the_signal_came_is_remembered(module: str, in_xla: bool) -> None:
    with answered() as interrupts:
        with pytest.raises(KeyboardInterrupt):
            press(module=module)()
        assert interrupts.in_xla is in_xla


def test_a_signal_in_a_callback_that_loses_exceptions_is_sent_again() -> None:
    with answered():
        press("_xla_gc_callback")()  # raises nothing
        with pytest.raises(KeyboardInterrupt):
            time.sleep(60)


def test_the_handler_of_the_caller_comes_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with answered():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.quick
def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with answered() as interrupts:
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            press(module="jax._src.compiler")()  # would raise, and be remembered
        assert not interrupts.in_xla
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_only_where_xla_may_work_the_exit_is_not_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    interrupts = Interrupts()
    with pytest.raises(SystemExit) as stopped:
        interrupts.leave(130)
    assert (stopped.value.code, codes) == (130, [])
    interrupts.in_xla = True
    with pytest.raises(SystemExit):  # which the true `_exit` does not come to
        interrupts.leave(130)
    assert codes == [130]


@pytest.mark.parametrize(
    "start", [["-c", "import adam_optax_command as c; c.run()"], ["-m", "adam_optax_command"]]
)
def test_ctrl_c_while_jax_is_imported_is_one_line(tmp_path: Path, start: list[str]) -> None:
    press = "import os, time; os.kill(os.getpid(), 2); time.sleep(600)"
    (tmp_path / "jax.py").write_text(press)  # found before the true one
    done = subprocess.run(
        [sys.executable, *start, "--version"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "adam-optax: interrupted\n")


def stopped(*arguments: str) -> str:
    """Stop commands in a process that has computed nothing: its forks would else hang at times."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.adversary.stops", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.heavy  # tens of seconds; more tries are made by hand
def test_a_signal_during_compilation_is_no_crash() -> None:
    assert "sweep: SIGINT 3 times" in stopped("--signals", "3", "sweep")


@pytest.mark.heavy  # one moment of each command; more are tried by hand
@pytest.mark.parametrize("names", [list(stops.LINES)[::2], list(stops.LINES)[1::2]])
def test_what_was_killed_goes_on_to_the_same_numbers(names: list[str]) -> None:
    said = stopped("--kills", "1", *names)
    assert [name for name in names if f"{name}: killed 1 times" not in said] == []
