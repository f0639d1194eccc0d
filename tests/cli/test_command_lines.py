"""Check that every command line ends with exit code 0, or 2 and one line of the library's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from adam_optax.cli import main
from tests.adversary import command_line

LONG = "x" * 5000
KEPT = {
    "compare digits --seeds 2000000000": "2000000000 runs (optimisers 1, settings 1, seeds 200",
    f"compare digits --seed {'9' * 5000}": "'--seed': expected an integer from 0",
    "sweep digits --epochs 2000000000": "make fewer epochs, or fewer runs in parallel",
    "sweep digits --set b1=1e-3:1:999 --set b2=1e-3:1:999": "too many; make at most 100000",
    "sweep digits --set b1=0.5 --set b1=0.9": "--set b1 is there twice; give its values in one",
    f"train digits --out {LONG}": "File name too long; choose another --out",
    f"train mnist --data-dir {LONG}": "File name too long",
    "train digits --out a\0b": "argument 'a\\x00b' has a null byte; leave it out",
    f"train digits --storage {'(' * 5000}": "is no format, such as pair(3): it has 5000 charac",
    "train digits --storage dense('1e-400')": "dense(1e-400): a moment needs a floating or com",
    "train hostile_raises:f": "cannot be made: RuntimeError: at import",
    "watch hostile_exits:f": "cannot be made: SystemExit: 3",
    "train hostile_code:fails": "more characters) ...",
    "suggest hostile_code:odd": "cannot be made: Odd",
    "train shakespeare --data-dir fifo": "fifo: cannot be read (it is a pipe, a socket or a",
    "train shakespeare --data-dir /dev/zero": "/dev/zero: cannot be read (it is a pipe, a soc",
    "train shakespeare --data-dir bombs": "all.txt: with this file, the data has more than",
    "train mnist --data-dir shapes": "above the limit of",
    "compile-report --target cpu --params hostile_exits:f": "hostile_exits:f: SystemExit: 3",
    "compile-report --target cpu --checkpoint checkpoint_fifo": "is a pipe, a socket, a device",
    f"compile-report --target cpu --checkpoint {LONG}": "File name too long",
    "convert fifo.safetensors --storage pair --out x.safetensors": "fifo.safetensors",
}
"""Lines that ended in a traceback, hung, filled the memory or lost an argument; and the message."""


@pytest.fixture(scope="module")
def surroundings() -> Iterator[list[str]]:
    with command_line.surroundings(trains=False) as paths:
        yield paths


@pytest.mark.parametrize(("line", "message"), KEPT.items(), ids=range(len(KEPT)))
def test_kept_lines_end_as_they_should(
    surroundings: list[str], capsys: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    assert command_line.run(line.split(" ")).fault == ""
    assert main.main(line.split(" ")) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    "seconds",
    [pytest.param(1, marks=pytest.mark.quick), pytest.param(40, marks=pytest.mark.heavy)],
)
def test_no_line_is_found_that_ends_otherwise(seconds: float) -> None:
    command_line.search(0, seconds)


def test_what_code_runs_is_said(
    surroundings: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("compare", "train", "sweep", "suggest", "watch"):
        assert main.main([command, "hostile_code:tiny"]) == 2  # for nothing is trained here
        first = capsys.readouterr().err.splitlines()[0]
        place = Path("hostile_code.py").absolute()
        assert first == f"adam-optax: running the code of hostile_code:tiny, from {place}"


@pytest.mark.parametrize("command", ["compare", "watch", "compile-report"])
def test_the_help_says_that_code_runs(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main.main([command, "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "code is run (see below)" in said.replace("│ │ ", "")
    assert "Its code is run; name no module that you do not trust." in said


def test_an_error_of_the_system_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, text in (
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError(13, "Permission denied", "x\x1b[31m"), "x\\x1b[31m: Permission denied"),
        (MemoryError(), "not enough memory for this"),
    ):
        monkeypatch.setattr("adam_optax.cli.main._invoke", lambda _: raised(error))  # noqa: B023
        assert main.main([]) == 2
        assert capsys.readouterr().err == f"adam-optax: error: {text}\n"


def raised(error: BaseException) -> None:
    raise error
