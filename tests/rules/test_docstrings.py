"""Test that each rule documents its moments, step and arguments, and that its example runs."""

import doctest
import inspect
import re

import jax
import pytest

from adam_optax import rules

NO_RULES = ("Rule", "clip_step_by_history", "variant")
RULES = {name: getattr(rules, name) for name in rules.__all__ if name not in NO_RULES}
EVERY = pytest.mark.parametrize("name", RULES)


def documented(name: str) -> dict[str, str]:
    """Return the text of each argument in a rule's docstring."""
    text = inspect.getdoc(RULES[name]) or ""
    (arguments,) = re.findall(r"^Args:\n(.*?)\n\n", text, re.DOTALL | re.MULTILINE)
    items = re.findall(r"^    (\w+): (.*?)(?=^    \w|\Z)", arguments, re.DOTALL | re.MULTILINE)
    return {argument: " ".join(meaning.split()) for argument, meaning in items}


@pytest.mark.quick
@EVERY
def test_each_argument_is_documented_with_its_default(name: str) -> None:
    parameters = inspect.signature(RULES[name]).parameters
    texts = documented(name)
    assert list(texts) == list(parameters)
    for argument, text in texts.items():
        (default,) = re.findall(r"; default (.*)\.$", text)
        value = eval(default, {})
        assert value == parameters[argument].default, argument
        assert type(value) is type(parameters[argument].default), argument


@EVERY
def test_the_moments_and_the_step_are_documented(name: str) -> None:
    text = inspect.getdoc(RULES[name]) or ""
    assert re.match(r"Build .*\.\n", text)
    (moments,) = re.findall(r"^Moments: (.*?)\n\n", text, re.DOTALL | re.MULTILINE)
    assert set(RULES[name]().moments) <= set(re.findall(r"`(\w+)`", moments))
    assert len(re.findall(r"^Step: `[^`]+`,\n", text, re.MULTILINE)) == 1
    assert "\nReferences:\n" in text


@EVERY
def test_the_example_runs(name: str) -> None:
    (example,) = doctest.DocTestFinder(recurse=False).find(RULES[name], name, globs={})
    assert example.examples
    with jax.numpy_dtype_promotion("standard"):
        assert doctest.DocTestRunner().run(example).failed == 0


def test_all_variants_are_public() -> None:
    assert sorted(RULES) == sorted(
        name
        for name, thing in vars(rules).items()
        if inspect.isfunction(thing) and name not in NO_RULES
    )
