"""Convert the 8-bit state of the real bitsandbytes 0.50.2, stored beside this file."""

import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import adam_optax as ao
from adam_optax._engine.leaf import encode
from adam_optax.storage import LeafContext
from adam_optax.storage._plan import plan_storage
from adam_optax.storage._quant.codebooks import DynamicMap

FILE = pathlib.Path(__file__).with_name("bitsandbytes.npz")
NAMES: ao.convert.Names = {"w": "w"}


@pytest.fixture
def kept() -> dict[str, Any]:
    """Read codes, scales, code books and moments after 7 steps of AdamW8bit on 520 numbers."""
    with np.load(FILE) as arrays:
        return dict(arrays)


def state_dict(kept: dict[str, Any], **more: Any) -> Any:
    """Build what bitsandbytes' `optimizer.state_dict()` returns."""
    keys = [n + i for i in "12" for n in ("state", "absmax", "qmap")]
    entry = {"step": 7, "__bnb_optimizer_quant_state__": {k: kept[k] for k in keys} | more}
    return {"state": {0: entry}, "param_groups": [{"lr": 1e-3, "params": [0]}]}


@pytest.mark.quick
def test_our_code_books_are_its_code_books(kept: dict[str, Any]) -> None:
    for i, book in (("1", DynamicMap()), ("2", DynamicMap(signed=False, first=2))):
        # Ours are computed, theirs the table: three roundings apart.
        np.testing.assert_allclose(book.values, kept["qmap" + i], rtol=3e-7)
        np.testing.assert_allclose(book.lowest, np.min(kept["qmap" + i]), rtol=3e-7)


@pytest.mark.quick
def test_codes_are_read_bit_for_bit(kept: dict[str, Any]) -> None:
    for i in "12":
        codes, absmax, qmap = (kept[n + i] for n in ("state", "absmax", "qmap"))
        moment = ao.convert.dequantize_blockwise(codes, absmax, qmap)
        np.testing.assert_array_equal(moment, kept["moment" + i])


def test_the_former_name_of_dequantize_blockwise_still_works() -> None:
    assert ao.convert.unquantised is ao.convert.dequantize_blockwise


def test_its_state_goes_on_in_float32(kept: dict[str, Any]) -> None:
    tx, params = ao.adamw(1e-3), {"w": jnp.zeros(520)}
    plain = ao.convert.bitsandbytes_to_torch(state_dict(kept))
    state = ao.convert.from_torch(plain, tx.init(params), NAMES, order=["w"])
    assert state[0].count == 7
    np.testing.assert_array_equal(state[0].mu["w"], kept["moment1"])
    np.testing.assert_array_equal(state[0].nu["w"], kept["moment2"])


@pytest.mark.quick
def test_int8_keeps_its_moments_in_its_own_codes(kept: dict[str, Any]) -> None:
    moments = ao.rules.adam().moments
    (storage,) = plan_storage(ao.storage.int8(), moments).of_leaves(jnp.zeros(520))
    values = {n: jnp.asarray(kept["moment" + i]) for n, i in (("mu", "1"), ("nu", "2"))}
    ours = encode(storage, values, moments, LeafContext((), (520,), jnp.int32(7), 0), ((), ()))
    for name, i in (("mu", "1"), ("nu", "2")):
        # A quotient rounded down may be below its number by the last bit, and the dither is then
        # once in thousands below it, too: one code.
        off = np.abs(np.int32(ours[name]) - np.int32(kept["state" + i]))
        assert off.max() <= 1
        assert np.mean(off > 0) < 0.01
        np.testing.assert_allclose(ours[f"{name}_absmax"], kept["absmax" + i], rtol=3e-7)


def test_a_nu_of_zero_beside_a_mu_is_raised(kept: dict[str, Any]) -> None:
    codes = kept["state2"].copy()
    codes[:5] = 0
    plain = ao.convert.bitsandbytes_to_torch(state_dict(kept, state2=codes))["state"][0]
    nu, mu = plain["exp_avg_sq"][:5], plain["exp_avg"][:5]
    least = kept["qmap2"][1] * kept["absmax2"][0] / 2
    np.testing.assert_array_equal(nu, np.where(mu != 0, least, 0).astype(np.float32))


def test_small_parameters_are_as_they_are() -> None:
    entry = {"step": 3, "state1": np.ones(3, np.float32), "state2": np.zeros(3, np.float32)}
    given = {"state": {0: entry}, "param_groups": [{"params": [0]}]}
    plain = ao.convert.bitsandbytes_to_torch(given)["state"][0]
    np.testing.assert_array_equal(plain["exp_avg"], np.ones(3))
    np.testing.assert_array_equal(plain["exp_avg_sq"], np.zeros(3))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda d: d.pop("state2"), "not step, state1 and state2 as bitsandbytes' Adam"),
        (lambda d: d.pop("absmax1"), "absmax1 of parameter 0 is not there"),
        (lambda d: d.update(absmax1=d["absmax1"][:2]), "2 absmax and 256 numbers of a code book"),
    ],
)
def test_what_does_not_fit_is_refused(kept: dict[str, Any], change: Any, text: str) -> None:
    given = state_dict(kept)
    change(given["state"][0]["__bnb_optimizer_quant_state__"])
    with pytest.raises(ao.convert.ConversionError, match=text):
        ao.convert.bitsandbytes_to_torch(given)
