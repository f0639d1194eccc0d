"""Draw the public line: what `dir(adam_optax)` shows is what users call."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
import types

import pytest

import adam_optax as ao

PACKAGES = (
    *("adapters", "conventions", "convert", "precision"),
    *("release", "rows", "rules", "storage"),
)
MODULES = ("couplings", "directions", "moments", "schedules")


@pytest.mark.quick
def test_dir_is_what_users_call() -> None:
    assert dir(ao) == sorted(ao.__all__)
    assert len(set(ao.__all__)) == len(ao.__all__)
    for name in ao.__all__:
        thing = getattr(ao, name)
        constant = name in ("FROZEN", "__version__")
        assert constant or callable(thing) or isinstance(thing, types.ModuleType)
        if isinstance(thing, types.ModuleType):
            assert name in (*PACKAGES, *MODULES)
    assert not [name for name in ao.__all__ if name.startswith("_") and name != "__version__"]


@pytest.mark.parametrize("name", PACKAGES)
def test_packages_say_what_is_public(name: str) -> None:
    package = importlib.import_module(f"adam_optax.{name}")
    assert package.__all__
    for each in package.__all__:
        assert getattr(package, each) is not None
        assert not each.startswith("_")


def test_no_function_hides_a_module() -> None:
    """A name of the top level is a function or a module, and the other cannot be reached."""
    for module in pkgutil.iter_modules(ao.__path__):
        thing = getattr(ao, module.name, None)
        assert thing is None or isinstance(thing, types.ModuleType), module.name


@pytest.mark.quick
def test_callables_stay_callable() -> None:
    for name in ("watch", "step", "optimizer", "scale_by", "citation", "memory", "offload"):
        assert callable(getattr(ao, name))
    for name in ("read", "rows", "plot", "QUANTILES"):
        assert hasattr(ao.watch, name)


def test_sources_lead_to_the_optimisers_themselves() -> None:
    for name in ("adam", "adamw", "lion", "sgd", "scale_by_adam"):
        function = getattr(ao, name)
        assert f"def {name}(" in inspect.getsource(function)
        assert "_alias" in (inspect.getsourcefile(function) or "")


def test_the_core_imports_no_extra() -> None:
    """What is installed with an extra is imported where it is used."""
    code = (
        "import sys, adam_optax; "
        "found = {'matplotlib', 'sklearn', 'rich', 'jinja2', 'pandas', 'h5py', 'torch', 'keras', "
        "'dask', 'distributed', 'ray'} & sys.modules.keys(); "
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.quick
def test_the_import_starts_no_backend() -> None:
    """`jax.distributed.initialize` must come before the first array, and after the imports."""
    code = (
        "import adam_optax; from jax._src import xla_bridge; "
        "assert not xla_bridge.backends_are_initialized()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_repr_says_what_things_are() -> None:
    s = ao.storage
    expected = "adamw(learning_rate=0.001, b1=0.9, b2=0.999, eps=1e-08, eps_root=0.0"
    assert repr(ao.adamw(1e-3, storage=s.pair())).startswith(expected)
    assert repr(ao.adamw(1e-3, storage=s.pair())).endswith("weight_decay=0.0001, storage=pair())")
    assert repr(ao.scale_by_lion(b1=0.8)).startswith("scale_by_lion(b1=0.8, b2=0.99")
    assert repr(ao.clip_by_global_norm(1.0)) == "clip_by_global_norm(max_norm=1.0)"
    assert repr(ao.rules.adam(b1=0.8)).startswith("Rule adam(b1=0.8, b2=0.999, eps=1e-08")
    assert repr(ao.rules.adam()).endswith(": mu = ema(0.9) of g, nu = ema(0.999) of |g|^2")
    formats = {
        s.pair(): "pair()",
        s.pair(3): "pair(bytes=3)",
        s.pair(block=128): "pair(block=128)",
        s.pair(1, block=64): "pair(bytes=1, block=64)",
        s.pair(fallback=s.dense()): "pair(fallback=dense())",
        s.dense("bfloat16"): "dense(dtype=dtype(bfloat16))",
        s.int8(64): "int8(block=64)",
        s.factored(2): "factored(min_dim_size_to_factor=2)",
        s.stochastic(): "stochastic()",
    }
    assert {form: repr(form) for form in formats} == formats
    state = ao.scale_by(ao.rules.temporal_average()).init(__import__("jax").numpy.ones(3))
    assert repr(state) == "ScaleByState(count=0, average=float32[3])"
