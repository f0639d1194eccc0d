"""The choice of loops: where it is made, how long it lasts, and what it means."""

import asyncio
import os
import subprocess
import sys
import threading
from typing import Any

import jax.numpy as jnp
import pytest

import adam_optax as ao
from adam_optax._engine.kernels.cpu.choice import chosen
from tests.engine.kernels.cpu.looping import loops_in


def loops(storage: Any) -> int:
    """Count the loops of one leaf's step."""
    tx, g = ao.adam(0.1, storage=storage), jnp.ones((3, 100))
    return loops_in(tx.update, g, tx.init(g), g)


@pytest.mark.quick
@pytest.mark.parametrize(("choice", "few_bits", "float32"), [("never", 0, 0), ("always", 1, 1)])
def test_what_is_chosen_is_done(choice: str, few_bits: int, float32: int) -> None:
    with ao.cpu_loops(choice):
        assert loops(ao.storage.pair()) == few_bits
        assert loops(None) == float32


@pytest.mark.quick
def test_without_a_choice_formats_of_few_bits_are_loops() -> None:
    assert loops(ao.storage.pair()) == 1
    assert loops(ao.storage.dense("bfloat16")) == 1
    assert loops(None) == 0


@pytest.mark.quick
def test_without_a_choice_a_step_to_new_parameters_is_a_loop() -> None:
    tx, g = ao.adam(0.1), jnp.ones((3, 100))
    assert loops_in(lambda g, state, p: ao.step(tx, g, state, p), g, tx.init(g), g) == 1


@pytest.mark.quick
def test_a_choice_lasts_as_long_as_its_block() -> None:
    before = chosen.get()
    with ao.cpu_loops("never"):
        with ao.cpu_loops("always"):
            assert chosen.get() == "always"
        assert chosen.get() == "never"
        with pytest.raises(KeyError), ao.cpu_loops("always"):
            raise KeyError
        assert chosen.get() == "never"
    assert chosen.get() == before


def test_a_choice_is_that_of_its_thread_and_its_task() -> None:
    seen: dict[str, str] = {}

    def look(name: str) -> None:
        seen[name] = chosen.get()

    async def choose(choice: str) -> None:
        with ao.cpu_loops(choice):
            await asyncio.sleep(0.01)
            look(choice)

    async def both() -> None:
        await asyncio.gather(choose("always"), choose("never"))

    before = chosen.get()
    with ao.cpu_loops("never"):
        thread = threading.Thread(target=look, args=("thread",))
        thread.start()
        thread.join()
    asyncio.run(both())
    assert seen == {"thread": before, "always": "always", "never": "never"}


@pytest.mark.quick
def test_another_choice_is_an_error() -> None:
    with pytest.raises(
        ValueError,
        match="the choice of cpu_loops must be one of auto, always, never, not 'sometimes'",
    ):
        ao.cpu_loops("sometimes").__enter__()


def imported(choice: str) -> "subprocess.CompletedProcess[str]":
    """Import the library where the environment says what is chosen."""
    code = "from adam_optax._engine.kernels.cpu.choice import chosen; print(chosen.get())"
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"ADAM_OPTAX_CPU_LOOPS": choice, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_environment_chooses_at_first() -> None:
    assert imported("never").stdout.strip() == "never"


def test_a_wrong_choice_in_the_environment_is_an_error() -> None:
    done = imported("yes")
    assert done.returncode != 0
    assert (
        "ADAM_OPTAX_CPU_LOOPS must be one of auto, always, never, not 'yes'"
        in done.stderr.splitlines()[-1]
    )
