"""What a change of storage does on eight devices; `test_change_storage.py` runs this there."""

from typing import Any

import jax
import numpy as np
import pytest

import adam_optax as ao
from tests.engine.sharding import layouts
from tests.engine.sharding.layouts import KINDS, STORAGE, start
from tests.engine.sharding.on_eight_devices import beside

pytestmark = pytest.mark.skipif(jax.device_count() != 8, reason="needs eight devices")


@pytest.mark.parametrize("name", STORAGE)
@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_state_is_where_its_parameters_are(name: str, kind: str) -> None:
    with jax.set_mesh(over := layouts.mesh(kind)):
        dense, tx = ao.adamw(1e-3), ao.adamw(1e-3, storage=STORAGE[name])
        run = layouts.ran(dense, over, range(2))
        params = start(over)
        changed = ao.convert.change_storage(run[1], dense, tx, params)
        beside(changed, params)
        beside(ao.convert.change_storage(changed, tx, dense, params), params)
        named = {
            f"{n}/{path}": np.asarray(x)
            for n, tree in (("mu", run[1][0].mu), ("nu", run[1][0].nu))
            for path, x in tree.items()
        }
        template: Any = jax.eval_shape(tx.init, params)
        named["count"] = np.asarray(run[1][0].count)
        filled = ao.convert.from_named(named, template, tx=tx, params=params)
        beside(filled, params)
        layouts.same(filled, changed)
