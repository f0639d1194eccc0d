"""Train a language model of GPT-2's size in several formats, on the same batches of a text."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import adam_optax as ao
from benchmarks.gpu.case import Case, Measured, Part, Setup
from benchmarks.gpu.model import SMALL, Decoder, Shape, codes, text
from benchmarks.gpu.timing import compiled, spent

S = ao.storage
FORMATS: dict[str, Any] = {
    "float32": None,
    "dense('bfloat16')": S.dense("bfloat16"),
    "pair()": S.pair(),
    "pair(1, block=64)": S.pair(1, block=64),
    "int8()": S.int8(),
    "float8()": S.float8(),
    "int4()": S.int4(),
}
"""Ours; the last three keep as many bits as bitsandbytes' and torchao's optimisers."""
LENGTHS, SEEDS = (100, 400, 1600), (0, 1, 2)
"""Steps of a training; short ones of all formats and seeds come first."""


def cases(setup: Setup) -> list[Case]:
    """List trainings: a length and seed with all formats before the next, to be stopped fairly."""
    all_of_it = LENGTHS, SEEDS, tuple(FORMATS)
    lengths, seeds, names = ((10,), (0,), ("float32", "pair()")) if setup.miniature else all_of_it
    return [
        Case(f"{steps} steps, seed {seed}: {name}", functools.partial(of_format, setup, *one))
        for steps in lengths
        for seed in seeds
        for name in names
        for one in [(steps, seed, name)]
    ]


@functools.cache
def corpus(setup: Setup) -> tuple[Any, Any, Shape, str]:
    """Return the words to train on, those held out (the last tenth), the model's sizes, a note."""
    shape = SMALL if setup.miniature else Shape()
    written, said = text(setup)
    found, distinct = codes(written, shape.words)
    kept = len(found) - len(found) // 10
    if len(found) // 10 <= shape.length:
        raise ValueError(f"{said} has {len(found):,} words: too few for a length of {shape.length}")
    note = f"{said}, {len(found):,} words, {distinct:,} of them distinct"
    return jnp.asarray(found[:kept]), jnp.asarray(found[kept:]), shape, note


def batch(words: Any, key: Any, shape: Shape) -> Any:
    """Draw passages."""
    starts = jax.random.randint(key, (shape.batch, 1), 0, len(words) - shape.length)
    return words[starts + jnp.arange(shape.length + 1)[None]]


def loss(params: Any, words: Any, shape: Shape) -> Any:
    """Return the mean loss of the next words, in nats."""
    logits = Decoder(shape).apply(params, words[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, words[:, 1:]).mean()


@functools.cache
def program(setup: Setup, steps: int, name: str) -> tuple[Any, Any, Any, float]:
    """Return the optimiser, a compiled step, the loss of words held out, and compile seconds."""
    train, held, shape, _ = corpus(setup)
    rate = optax.warmup_cosine_decay_schedule(0.0, 6e-4, max(1, steps // 10), steps)
    tx = ao.adamw(rate, b2=0.95, weight_decay=0.1, storage=FORMATS[name])

    def step(params: Any, state: Any, key: Any, words: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(params, batch(words, key, shape), shape)
        return *ao.step(tx, grads, state, params), value

    def held_out(params: Any, words: Any) -> Any:
        keys = jax.random.split(jax.random.key(7), 2 if setup.miniature else 16)
        return jax.lax.map(lambda key: loss(params, batch(words, key, shape), shape), keys).mean()

    params = jax.eval_shape(lambda: first(setup, 0))
    given = params, jax.eval_shape(tx.init, params), jax.random.key(0), train
    made, took = compiled(step, *given, donate=(0, 1))
    return tx, made, compiled(held_out, params, held)[0], took


def first(setup: Setup, seed: int) -> Any:
    """Return the first parameters."""
    shape = corpus(setup)[2]
    words = jnp.zeros((1, shape.length), jnp.int32)
    return Decoder(shape).init(jax.random.key(seed), words)


def of_format(setup: Setup, steps: int, seed: int, name: str) -> Iterator[Measured]:
    """Train, and measure losses, time and memory."""
    train, held, shape, note = corpus(setup)
    tx, step, held_out, took = program(setup, steps, name)
    params = jax.jit(functools.partial(first, setup))(seed)
    state = jax.jit(tx.init)(params)
    count = sum(x.size for x in jax.tree.leaves(params))
    yield Measured("state", "B/parameter", sum(x.nbytes for x in jax.tree.leaves(state)) / count)
    keys = jax.random.split(jax.random.key(1000 + seed), steps)
    run = [jax.block_until_ready(step(params, state, keys[0], train))]
    del params, state  # they were donated

    def rest() -> list[Any]:
        """Take all steps but the first, which may still load what was compiled."""
        losses = []
        for key in keys[1:]:
            run[0] = step(*run[0][:2], key, train)
            losses.append(run[0][2])
        return losses

    losses, seconds = spent(rest)
    ms = 1e3 * seconds / (steps - 1)
    last = np.asarray(jnp.stack(losses[-max(1, steps // 10) :]), np.float64)
    yield Measured("loss, last tenth", "nats", last.mean(), last.min(), last.max(), len(last), note)
    yield Measured("loss, held out", "nats", float(held_out(run[0][0], held)))
    yield Measured("step", "ms", ms)
    yield Measured("words", "1/s", 1e3 * shape.batch * shape.length / ms)
    yield Measured("compile", "s", took)
    yield Measured("parameters", "M", count / 1e6)


NOTES = (
    "*loss, last tenth* is the mean over the last tenth of the steps, with the least and largest of"
    " a batch; *step* is a whole training step in bfloat16, the mean over all but the first.",
    "What it says: whether a format trains as float32 does, by the same batches. What it does not"
    " say: how good a model is, since the text is small and read many times.",
)
PART = Part("language", "A language model of GPT-2's size, on text", 0.3, cases, NOTES)
