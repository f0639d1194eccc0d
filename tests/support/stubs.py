"""Signatures of what `alias.made` makes, for type checkers."""

import inspect
import pathlib
from inspect import Parameter
from typing import Any

import adam_optax._alias.family
import adam_optax.conventions._optimizers

MODULES = (adam_optax._alias.family, adam_optax.conventions._optimizers)
HEADER = '''"""Written by `python -m tests.support.stubs`."""

from collections.abc import Callable
from typing import Any

from jax import Array

from adam_optax.couplings import Coupling
from adam_optax._core.types import ScalarOrSchedule as Hyper
from adam_optax._transform import Transformation

'''
TYPES = {"coupling": "Coupling | None", "clip_value_fn": "Callable[[Array], Array] | None"}
HYPER = ("learning_rate", "weight_decay")


def stub(module: Any) -> str:
    """The stub of a module: every transformation in it, with its full signature."""
    made = {n: f for n, f in vars(module).items() if hasattr(f, "__signature__")}
    text = "\n".join(f"def {n}(\n{_parameters(f)}) -> Transformation: ..." for n, f in made.items())
    header = HEADER
    for name in ("Callable", "Array", "Coupling"):
        if name not in text:
            header = "".join(x for x in header.splitlines(True) if not x.endswith(f" {name}\n"))
    return header + text + "\n"


def _parameters(function: Any) -> str:
    parameters = list(inspect.signature(function).parameters.values())
    texts = [_parameter(p) for p in parameters]
    keyword = [i for i, p in enumerate(parameters) if p.kind is Parameter.KEYWORD_ONLY]
    texts[keyword[0] : keyword[0]] = ["*"]
    return "".join(f"    {text},\n" for text in texts)


def _parameter(p: Parameter) -> str:
    plain = p.annotation in (bool, int, float)
    kind = p.annotation.__name__ if plain else TYPES.get(p.name, "")
    kind = kind or ("Any" if p.annotation is Parameter.empty and p.name not in HYPER else "Hyper")
    return f"{p.name}: {kind}" + ("" if p.default is Parameter.empty else " = ...")


def path(module: Any) -> pathlib.Path:
    """Where the stub of a module belongs."""
    return pathlib.Path(module.__file__).with_suffix(".pyi")


if __name__ == "__main__":
    for one in MODULES:
        path(one).write_text(stub(one))
