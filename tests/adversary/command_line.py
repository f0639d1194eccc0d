"""Search for a command line that does not end as it should.

Every line ends with exit code 0, or with exit code 2 and one line of the library's own on stderr
(after the line that says what code runs), or with 3 if it trains and every run diverges; within a
bound of time and memory; and a line that is refused changes no file.
"""

import contextlib
import dataclasses
import io
import os
import random
import resource
import shlex
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

from rich_click import Choice, Option, Parameter

from adam_optax._core.user_code import describe
from adam_optax.cli import main
from adam_optax.lab import Data, LabError, problems
from tests.adversary import hostile_files
from tests.support.budgets import within

_AS_THEY_ARE = dict(problems)
_TRAINING = (
    "adam_optax.lab.trainer.Trainer.__init__",
    "adam_optax.lab.sweeper.Sweeper.run",
    "adam_optax.cli.compile_report.compile_update",
)
_NOT_TRAINED = "nothing is trained"
"""The error with which a line ends that would train, after notes on what it is about to do."""
SECONDS, MEGABYTES = 20.0, 1024
"""Bounds of one line: two cores may be shared with others, and a data set is read whole."""

_NUMBERS = ["0", "1", "2", "-1", "1e-3", "1e400", "1e-400", "nan", "inf", "-0", "1_0", "٣", "0x1"]
_NUMBERS += ["2000000000", "2147483647", "2147483648", "9" * 5000, "1e308", "4e-324", "1e39"]
_TEXTS = ["", " ", "-", "--", "x" * 300, "x" * 5000, "a\0b", "\udcff", "é", "\x1b[31m", "a=b", ":"]
_TEXTS += [
    "--help",
    "/dev/zero",
    "/dev/null",
    "/",
    ".",
    "..",
    "/proc/self/mem",
    "a/" * 2500,
    "~",
    "*",
]
_NAMES = ["adam", "nadam", "optax.adam", "optax.sgd", "lion", "sophia", "optax.", "optax.adam.x"]
_NAMES += ["adam,adam", "adam,", ",", "x" * 100_000, "adam,optax.adam", "novograd", "optax.lbfgs"]
_FORMATS = ["pair", "pair(3)", "pair(block=128)", "float8", "int8", "int4", "stochastic", "dense"]
_FORMATS += ["pair(-1)", "pair(block=10**30)", f"int8(block={10**18})", "dense('1e-400')", "pair("]
_FORMATS += ["(" * 5000, "-" * 5000 + "1", "pair(" + "9" * 5000 + ")", "dense('f4,f4')", "open(1)"]
_FORMATS += [
    "dense('float8_e8m0fnu')",
    "pair(*[])",
    "pair(**{})",
    "pair(bytes=True)",
    "int8(seed=1.5)",
]
_SETTINGS = [
    "b1=0.5,0.9",
    "eps=1e-8:1e-2:7",
    "learning_rate=1e-3",
    "b1=1:2:999",
    "b2=" + "0,1" * 99,
]
_SETTINGS += ["eps=1:2:1000000000", "eps=1e400", "=1", "b1=", "b1", "rate=1", "self=1", "mask=1"]
_SETTINGS += ["b1=2", "b2=-1", "eps=1e308", "storage=1", "learning_rate=0", "eps=1e-320:1e308:999"]
_DTYPES = ["bfloat16", "int8", "1e-400", "f4,f4", "(2,)f4", "O", "float128", "float8_e8m0fnu", "V9"]
_OTHERS = ["digits", "mnist", "imdb", "cifar10", "shakespeare", "figure1", "figure2", "figure4"]
_OTHERS += ["cpu", "cpu,cpu", "h100", "v5e,", "torch", "keras", "model", "optimizer/0", "text.pt:a"]
_PLACES = ["fifos", "devices", "bombs", "shapes", "empty", "folders", "loops", "mnist", "nowhere"]
_FITTING = {
    "problem": ["digits", "mnist", "imdb", "cifar10", "shakespeare", "hostile_code:tiny"],
    "optimizers": _NAMES,
    "optimizer": _NAMES,
    "storage": _FORMATS,
    "rule": [*_FORMATS, "adam(b1=0.9, b2=0.999)"],
    "settings": _SETTINGS,
    "dtype": _DTYPES,
    "data_dir": [*_PLACES, "fifo", "/dev/zero", *(f"{place}/all.txt" for place in _PLACES)],
    "checkpoint": ["checkpoint_garbage", "checkpoint_fifo", "mnist"],
    "params": ["new.safetensors", "hostile_code:shapes", "hostile_code:huge"],
    "out": ["results", "new.safetensors", "new.pt", "new.keras", "fifo.pt", "dangling", "loop"],
    "source": ["state.safetensors", "text.pt", "text.keras", "fifo.pt", "fifo.safetensors"],
    "like": ["text.pt", "text.keras", "fifo.pt", "fifo.keras"],
    "names": ["names.json", "text.json", "fifo.json"],
    "model": ["text.pt", "text.pt:model", "fifo.pt"],
    "target": ["cpu"],
    "count": ["1", "2", "3", "2000000000"],
    "seed": ["0", "7", "2147483647"],
    "rate": ["1e-3", "1e39", "1e-320"],
}
"""Words by the name of an argument, or of the function that parses it: some reach far."""

_WORDS = [*_NUMBERS, *_TEXTS, *_NAMES, *_FORMATS, *_SETTINGS, *_DTYPES, *_OTHERS]


class Hang(BaseException):
    """Say that a line did not end."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Hold how a line ended.

    Attributes:
        fault: What is wrong with the end; empty if nothing is.
        code: The exit code.
        seconds: How long the line took.
        megabytes: By how much the process grew.
    """

    fault: str
    code: object
    seconds: float
    megabytes: int


def search(seed: int, seconds: float, trains: bool = False) -> None:
    """Try command lines until the time is over, and print what was tried.

    Args:
        seed: Chooses the lines.
        seconds: How long to search.
        trains: Whether lines that are right train; otherwise they end where a training begins.

    Raises:
        SystemExit: If a line did not end as it should; the line is printed.
    """
    codes: Counter[object] = Counter()
    worst = [0.0, ""], [0, ""]
    with surroundings(trains) as paths:
        words = [*_WORDS, *paths, *_code()]
        end, number = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            line = make_line(random.Random(f"{seed}/{number}"), words)
            number += 1
            long = any(word.isdecimal() and int(word[:9]) > 9 for word in line)
            if trains and (long or line[:1] == ["reproduce"]):
                continue  # who asks for a long training is given one
            outcome = run(line, SECONDS * (20 if trains else 1))
            codes[outcome.code] += 1
            shown = shorten(line)
            if outcome.fault:
                print(f"line {number - 1} of seed {seed}: {shown}\n{outcome.fault}")
                raise SystemExit(1)
            for place, value in zip(worst, (outcome.seconds, outcome.megabytes), strict=True):
                if value > place[0]:  # type: ignore[operator]
                    place[:] = value, shown
    ended = ", ".join(
        f"{count} with exit code {code}" for code, count in sorted(codes.items(), key=str)
    )
    print(f"{codes.total()} command lines of seed {seed}: {ended}")
    print(f"slowest, {worst[0][0]:.1f} s: {worst[0][1]}")
    print(f"largest, {worst[1][0]} MB: {worst[1][1]}")


def make_line(rng: random.Random, words: Sequence[str]) -> list[str]:
    """Make a line of a command's own arguments, with words that fit and words that do not."""
    if rng.random() < 0.02:
        return [rng.choice(words) for _ in range(rng.randrange(4))]
    name = rng.choice(list(main.COMMANDS))
    line, hostility = [name], rng.choice([0, 0.1, 0.5])
    for parameter in main.command(name).params:
        if parameter.required or rng.random() < 0.25:
            option = [rng.choice(parameter.opts)] if isinstance(parameter, Option) else []
            line += [*option, *_values(rng, parameter, words, hostility)]
    for _ in range(rng.choice([0, 0, 0, 1])):
        place = rng.randrange(1, len(line) + 1)
        how = rng.randrange(3)
        line[place : place + (how > 0)] = [rng.choice(words)] if how < 2 else []
    return line


def _values(
    rng: random.Random, parameter: Parameter, words: Sequence[str], hostility: float
) -> list[str]:
    """Return the words of an argument."""
    if isinstance(parameter, Option) and parameter.is_flag:
        return []
    if rng.random() < hostility:
        return [rng.choice(words)]
    name, kind = parameter.name or "", parameter.type
    if name in ("problem", "params") and rng.random() < 0.4:
        return [rng.choice(_code())]
    choices = list(kind.choices) if isinstance(kind, Choice) else words
    return [rng.choice(_FITTING.get(name, _FITTING.get(kind.name, choices)))]


def _code() -> list[str]:
    functions = [f"hostile_code:{name}" for name in hostile_files.FUNCTIONS]
    others = [f"{name}:f" for name in hostile_files.MODULES]
    return [
        *functions,
        *others,
        ".x:f",
        "hostile_code:",
        ":f",
        "a\0:f",
        "x" * 5000 + ":f",
        "a.b.c:f",
    ]


def _few_digits(place: Path | None) -> Data:
    data = _AS_THEY_ARE["digits"].load(place)
    return Data(data.train_x[:50], data.train_y[:50], data.test_x[:50], data.test_y[:50])


@contextlib.contextmanager
def surroundings(trains: bool) -> Iterator[list[str]]:
    """Work in a folder of hostile files, and yield their paths; nothing is trained unless asked."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        os.chdir(folder)
        stack.callback(os.chdir, here)
        for name in () if trains else _TRAINING:
            stack.enter_context(mock.patch(name, side_effect=LabError(_NOT_TRAINED)))
        few = dataclasses.replace(problems["digits"], load=_few_digits, batch_size=10, epochs=1)
        stack.enter_context(mock.patch.dict(problems, digits=few))
        yield hostile_files.write_all(Path(folder))


def run(line: Sequence[str], limit: float = SECONDS) -> Outcome:
    """Run a command line in this process, and judge how it ended within a limit in seconds."""
    out, err = io.StringIO(), io.StringIO()
    before, size, begin = _files(), _megabytes(), time.monotonic()
    code: object = None
    fault = ""
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            warnings.catch_warnings(action="error"),
            within(limit, Hang),
        ):
            code = main.main(line)
    except SystemExit as stopped:  # of --help
        code = stopped.code
    except Hang:
        fault = f"not over after {limit:.0f} s"
    except BaseException as error:
        fault = describe(error)[:500]
    for name in [n for n in sys.modules if n.partition(".")[0] in hostile_files.MODULES]:
        del sys.modules[name]
    seconds, grown = time.monotonic() - begin, _megabytes() - size
    if not fault and grown > MEGABYTES:
        fault = f"takes {grown} MB"
    return Outcome(fault or _misreported(code, err.getvalue(), before), code, seconds, grown)


def _misreported(code: object, said: str, before: dict[str, object]) -> str:
    """Say what is wrong with an exit code, what is on stderr and the files; empty if nothing is."""
    lines = said.splitlines()
    if code not in (0, 2) and not (code == 3 and "every run diverged" in said):
        return f"exit code {code}: {said[:500]}"
    for _ in ("problem", "executor"):
        if lines and lines[0].startswith("adam-optax: running the code of "):
            lines = lines[1:]
    if lines[1:] and lines[-1] == f"adam-optax: error: {_NOT_TRAINED}":
        notes, lines = lines[:-1], lines[-1:]
        if not all(note.startswith("adam-optax: ") for note in notes):
            return f"stderr has a line that is not ours: {said[:1000]!r}"
    if code == 2 and not (len(lines) == 1 and lines[0].startswith("adam-optax: error: ")):
        return f"stderr has not one line of ours: {said[:1000]!r}"
    if any(not line.isprintable() or len(line) > 2500 for line in lines):
        return f"stderr has a line to command a terminal, or to fill it: {said[:1000]!r}"
    after = _files()
    changed = sorted(
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    )
    if code == 2 and changed:
        return f"refused, and yet changed {', '.join(changed)}"
    for name in reversed(changed):  # what was written is not there for the next line
        path = Path(name)
        if name not in before:
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    return ""


def _files() -> dict[str, object]:
    """Return what is in the folder: sizes and times by path; compiled modules are Python's."""
    found: dict[str, object] = {}
    for path in Path().rglob("*"):
        if "__pycache__" not in path.parts:
            stat = path.lstat()
            found[str(path)] = stat.st_mode, stat.st_size, 0 if path.is_dir() else stat.st_mtime_ns
    return found


def _megabytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> (
        20 if sys.platform == "darwin" else 10
    )


def shorten(line: Sequence[str]) -> str:
    """Return a line as a shell would read it, with long words cut."""
    words = (word if len(word) < 200 else f"{word[:20]}...{len(word)} characters" for word in line)
    return ascii(shlex.join(words))[1:-1]
