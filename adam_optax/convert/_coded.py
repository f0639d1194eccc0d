"""Keep named arrays in a storage format, for files of fewer bytes, and read them back as floats.

A coded file says in its metadata what it takes to read it: the format, the rule whose moments they
are (codes of some formats depend on its decay rates), and the shapes of the parameters.
"""

import json
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adam_optax import rules, storage
from adam_optax._core.calls import parse_call
from adam_optax._engine.states import frames_of, repack, unpack
from adam_optax._transform import Transformation, scale_by
from adam_optax.convert._checks import (
    COUNT,
    ConversionError,
    NamedArrays,
    join_key,
    join_names,
    split_key,
)
from adam_optax.convert._named import from_named
from adam_optax.convert._storage import decode_state
from adam_optax.rules.base import Rule
from adam_optax.storage._base import Format, Frame

RULE, _STORAGE, _PARAMETERS, _FRAMES = "rule", "storage", "parameters", "frames"
"""The keys of a file's metadata."""
FORMATS = tuple(n for n in storage.__all__ if n[0].islower() and n != "factored")
"""The formats that keep any moment of a rule."""


def parse_format(text: str) -> Format:
    """Return the storage format of a text such as `pair(3)`.

    Raises:
        ConversionError: if the text is no format.
    """
    made = _call(storage, FORMATS, "storage", text, "pair(3)")
    assert isinstance(made, Format)
    return made


def parse_rule(text: str) -> Rule:
    """Return the rule of a text such as `adam(b1=0.9, b2=0.999)`.

    Raises:
        ConversionError: if the text is no rule.
    """
    names = tuple(n for n in rules.__all__ if n not in ("Rule", "variant"))
    made = _call(rules, names, "rule", text, "adam(b1=0.9, b2=0.999)")
    assert isinstance(made, Rule)
    return made


def _call(module: Any, names: tuple[str, ...], what: str, text: str, example: str) -> object:
    """Return what a call in a text makes, of functions in a module."""
    try:
        name, positional, named = parse_call(text)
        if name not in names:
            raise ConversionError(f"{what} {text!r} is none of {', '.join(names)}")
        return getattr(module, name)(*positional, **named)
    except ConversionError:
        raise
    except (TypeError, ValueError) as error:
        raise ConversionError(f"{what} {text!r} is not such as {example}: {error}") from error


def encode_named(named: NamedArrays, form: str, rule: str) -> tuple[NamedArrays, dict[str, str]]:
    """Return the entries of a state in a storage format by name, and what it takes to read them.

    Args:
        named: named arrays; see `to_named`.
        form: the storage format as text, such as `pair()`.
        rule: the rule whose moments they are, as text.

    Raises:
        ConversionError: if a text is wrong, or the format or the rule does not go with the moments.
    """
    parameters: dict[str, tuple[list[int], str]] = {}
    for key, x in named.items():
        if key != COUNT:
            path = split_key(key)[1]
            shape, dtype = parameters.get(path, ([], "float32"))
            dtype = "complex64" if np.iscomplexobj(x) else dtype
            parameters[path] = (max(shape, list(x.shape), key=len), dtype)
    tx, params = _build(form, rule, parameters)
    try:
        template = jax.eval_shape(tx.init, params)
    except (TypeError, ValueError) as error:
        raise ConversionError(f"storage {form!r} refuses: {error}") from error
    state = from_named(named, template, tx=tx, params=params)
    arrays: NamedArrays = {COUNT: np.array(named[COUNT], np.int32)}
    for n, tree in unpack(state).items():
        for path, x in tree.items():
            if isinstance(x, jax.Array):
                arrays[join_key(n, path)] = np.array(x)
    frames = {n: [int(x) for x in frame] for n, frame in frames_of(state).items()}
    texts = json.dumps(parameters, sort_keys=True), json.dumps(frames, sort_keys=True)
    facts = {_STORAGE: form, RULE: rule, _PARAMETERS: texts[0], _FRAMES: texts[1]}
    return arrays, facts


def decode_named(arrays: NamedArrays, facts: Mapping[str, str]) -> NamedArrays:
    """Return named arrays of floats, of what `encode_named` returned; of floats, the same.

    Raises:
        ConversionError: if the metadata names no known format or rule.
        KeyError, ValueError, TypeError: if the file is damaged.
    """
    if _STORAGE not in facts:
        return arrays
    tx, params = _build(facts[_STORAGE], facts[RULE], json.loads(facts[_PARAMETERS]))
    template = jax.eval_shape(tx.init, params)
    entries: dict[str, dict[str, Any]] = {}
    for n, tree in unpack(template).items():
        entries[n] = dict(tree)
        for path, like in tree.items():
            if isinstance(like, jax.ShapeDtypeStruct):
                x = arrays[join_key(n, path)]
                if x.shape != like.shape or x.dtype != like.dtype:
                    raise ValueError(f"{join_key(n, path)} is {x.dtype}{list(x.shape)}")
                entries[n][path] = jnp.asarray(x)
    count = jnp.asarray(arrays[COUNT], jnp.int32)
    frames = dict(json.loads(facts[_FRAMES]))
    state = repack(template, entries, lambda _: count)._replace(
        frames={n: _as_frame(frames[n], len(like)) for n, like in frames_of(template).items()}
    )
    moments = unpack(decode_state(state, tx, params))
    decoded = {join_key(n, path): np.array(x) for n, t in moments.items() for path, x in t.items()}
    return {COUNT: arrays[COUNT], **decoded}


def _as_frame(numbers: Any, length: int) -> Frame:
    """Return a frame of a file, or refuse what is none."""
    kinds = {type(x) for x in numbers} if isinstance(numbers, list) else set()
    if kinds != {int} or len(numbers) != length or not 0 <= min(numbers) <= max(numbers) < 2**32:
        raise ValueError(f"the frame {numbers!r:.100} is no list of {length} numbers")
    return tuple(jnp.uint32(x) for x in numbers)


def _build(
    form: str, rule: str, parameters: Mapping[str, Any]
) -> tuple[Transformation, dict[str, jax.ShapeDtypeStruct]]:
    """Return the transformation that keeps such a state, and its parameters' shapes by path."""
    chosen = parse_rule(rule)
    try:
        tx = scale_by(chosen, storage=parse_format(form))
    except ConversionError:
        raise
    except (TypeError, ValueError) as error:
        names = join_names(chosen.moments)
        raise ConversionError(
            f"storage {form!r} cannot keep the moments of {rule} ({names}): {error}"
        ) from error
    shapes = ((path, tuple(shape), dtype) for path, (shape, dtype) in dict(parameters).items())
    return tx, {path: jax.ShapeDtypeStruct(shape, dtype) for path, shape, dtype in shapes}
