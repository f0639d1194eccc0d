"""Every optimiser's signature begins with optax's, says what each argument means, and builds."""

import inspect
import pathlib
import pickle
import re
import typing
from collections.abc import Callable
from inspect import Parameter
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

import adam_optax as ao
from adam_optax._alias import options
from tests.support.cases import gradients

SHARED = typing.get_type_hints(ao.DecayOptions)
"""The options of all, by name: documented in `adam_optax._alias.options`."""


def _functions(module: Any) -> dict[str, Callable[..., Any]]:
    return {
        name: thing
        for name, thing in vars(module).items()
        if inspect.isfunction(thing)
        and pathlib.Path(thing.__code__.co_filename).parent.name == "_alias"
    }


ALIASES = _functions(ao)
FRAMEWORKS = {
    name: getattr(ao.conventions, name)
    for name in (
        *("scheduled_nadam", "fading_adam", "constant_adam"),
        *("uncorrected_adam", "simplified_nadam", "capped_adafactor"),
    )
}
ALL = ALIASES | FRAMEWORKS
OPTAX = {
    name: getattr(optax, name, None) or getattr(optax.contrib, name)
    for name in ALIASES
    if hasattr(optax, name) or hasattr(optax.contrib, name)
}
WITHOUT = {
    *("adabound", "adam_atan2", "adamh", "amsbound", "laprop", "mars", "mars_lion"),
    *("scale_by_laprop", "stable_adamw", "temporal_average"),
}
WITHOUT |= {"adam_mini", "adamp", "came", "grams", "qhadam"}
"""What optax does not have."""

OTHER_DEFAULTS = {
    ("adopt", "clip_value_fn"): "None stands for optax's `count**0.25`, without a lambda to hash",
    ("scale_by_adopt", "clip_value_fn"): "as for adopt",
}
"""Defaults that differ from optax's on purpose, each with its reason."""

EVERY = pytest.mark.parametrize("name", ALL)


def _positional(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is Parameter.POSITIONAL_OR_KEYWORD}


def _keywords(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is Parameter.KEYWORD_ONLY}


@pytest.mark.quick
def test_the_table_has_all() -> None:
    assert len(ALIASES) == 53
    assert set(ALIASES) - set(OPTAX) == WITHOUT


@pytest.mark.quick
@pytest.mark.parametrize("name", OPTAX)
def test_what_goes_by_place_in_optax_goes_by_the_same_place(name: str) -> None:
    ours, theirs = _positional(ALIASES[name]), _positional(OPTAX[name])
    assert list(ours.items()) == list(theirs.items())


@pytest.mark.quick
@pytest.mark.parametrize("name", OPTAX)
def test_what_goes_by_keyword_in_optax_goes_by_keyword(name: str) -> None:
    ours, theirs = _keywords(ALIASES[name]), _keywords(OPTAX[name])
    differ = {n for n in theirs if n not in ours or ours[n] != theirs[n]}
    assert differ == {argument for other, argument in OTHER_DEFAULTS if other == name}


@pytest.mark.quick
@EVERY
def test_what_optax_does_not_have_goes_by_keyword(name: str) -> None:
    ours = _keywords(ALL[name])
    assert not SHARED.keys() & _positional(ALL[name]).keys()
    assert "storage" in ours
    assert all(ours[n] is None for n in SHARED if n in ours)


@pytest.mark.quick
@EVERY
def test_the_source_is_where_the_function_is(name: str) -> None:
    function = ALL[name]
    path = pathlib.Path(inspect.getsourcefile(function) or "")
    assert path.parent.name == ("conventions" if name in FRAMEWORKS else "_alias")
    assert f"def {name}(" in inspect.getsource(function)
    assert function.__module__ == ("adam_optax.conventions" if name in FRAMEWORKS else "adam_optax")
    assert pickle.loads(pickle.dumps(function)) is function


def _explicit(function: Callable[..., Any]) -> list[str]:
    """The names that the definition itself has."""
    code = function.__code__
    return list(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])


def _section(text: str, name: str) -> str:
    found = re.search(rf"^{name}:\n(.*?)(?=^\S|\Z)", text, re.DOTALL | re.MULTILINE)
    assert found is not None, name
    return found[1]


@pytest.mark.quick
@EVERY
def test_each_argument_is_documented_once_and_in_order(name: str) -> None:
    text = inspect.getdoc(ALL[name]) or ""
    documented = re.findall(r"^    (\S+):", _section(text, "Args"), re.MULTILINE)
    assert documented == [*_explicit(ALL[name]), "**options"]


@pytest.mark.quick
@EVERY
def test_the_documentation_says_all_that_a_user_asks(name: str) -> None:
    text = inspect.getdoc(ALL[name]) or ""
    first = text.splitlines()[0]
    assert re.match(r"(Minimise with|Rescale gradients by|Average the) .*\.$", first)
    assert "\nTake " in text
    assert "\nStep: `" in text
    for section in ("Returns", "Raises"):
        assert _section(text, section).strip()
    assert ">>> tx = " in _section(text, "Example")
    references = _section(text, "References")
    assert re.search(r"\]\(https://\S+\), .*\d{4}", " ".join(references.split()))


@pytest.mark.quick
@EVERY
def test_shared_options_are_named_and_documented(name: str) -> None:
    shared = [n for n in inspect.signature(ALL[name]).parameters if n not in _explicit(ALL[name])]
    args = _section(inspect.getdoc(ALL[name]) or "", "Args").partition("**options:")[2]
    assert shared
    for option in shared:
        assert f"`{option}`" in args
        homes = [c for c in vars(options).values() if option in getattr(c, "__annotations__", {})]
        assert any(f"\n    {option}: " in (inspect.getdoc(home) or "") for home in homes)


@pytest.mark.matrix(keep=12)
@EVERY
def test_it_builds_and_steps(name: str) -> None:
    takes_rate = next(iter(inspect.signature(ALL[name]).parameters)) == "learning_rate"
    tx = ALL[name](0.1) if takes_rate else ALL[name]()
    params = {"w": jnp.ones((2, 3)), "b": jnp.zeros(3)}
    grads = {
        "w": jnp.asarray(gradients(1, 6).reshape(2, 3), jnp.float32),
        "b": jnp.asarray(gradients(1, 3)[0], jnp.float32),
    }
    state = tx.init(params)
    for _ in range(2):
        updates, state = jax.jit(tx.update)(grads, state, params)
    assert all(bool(jnp.isfinite(u).all()) for u in jax.tree.leaves(updates))
    assert any(bool(jnp.any(u != 0)) for u in jax.tree.leaves(updates))


@pytest.mark.quick
@EVERY
def test_what_is_unknown_or_missing_is_refused_by_name(name: str) -> None:
    takes_rate = next(iter(_positional(ALL[name]))) == "learning_rate"
    first: tuple[float, ...] = (0.1,) if takes_rate else ()
    known = ", ".join(inspect.signature(ALL[name]).parameters)
    with pytest.raises(TypeError, match=f"^{name} takes no 'beta'; it takes {re.escape(known)}$"):
        ALL[name](*first, beta=0.9)
    many = [0.1] * (len(_positional(ALL[name])) + 1)
    with pytest.raises(TypeError, match=rf"^{name}\(\) takes .* positional arguments? but"):
        ALL[name](*many)
    if takes_rate and name not in ("adadelta", "adafactor"):
        with pytest.raises(TypeError, match=rf"^{name}\(\) missing .* 'learning_rate'$"):
            ALL[name]()
