"""Compare runs handed over between PyTorch and this library, in float64, with one in PyTorch."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from adam_optax.cli import main
from adam_optax.conventions import PYTORCH, scheduled_nadam
from adam_optax.convert._checks import to_numpy
from adam_optax.convert._torch_files import read_torch
from tests.support.cases import gradients, run
from tests.support.oracle import relative_rms
from tests.support.torch_files import archive_bytes, write_torch_file

torch = pytest.importorskip("torch", reason="pip install 'adam-optax[witness]'")

STEPS, HALF, RATE = 200, 100, 1e-2
NAMES: ao.convert.Names = {"weight": ("kernel", (1, 0)), "bias": "bias"}
GRADS = {
    "weight": gradients(STEPS, 12).reshape(STEPS, 4, 3),
    "bias": gradients(STEPS, 4, seed=1),
}
START = {"weight": np.linspace(-1.0, 1.0, 12).reshape(4, 3) + 0.03, "bias": np.ones(4)}

# The moments are handed over without loss. From there, each side rounds a step about 20 times by
# 1.1e-16, and PyTorch's 1 - b2**t cancels all but 1e-13 of 0.001 at the first steps.
ROUNDING = 1e-12
# PyTorch's length of RAdam's window cancels (see test_witness_torch).
CANCELLED = 5e-11


@dataclasses.dataclass(frozen=True)
class Pair:
    """Hold PyTorch's optimizer and ours, and how far apart they may end."""

    theirs: str
    ours: Callable[[], Any]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    off: float = ROUNDING

    @property
    def id(self) -> str:
        """Return the call in PyTorch as text."""
        return "-".join([self.theirs, *(f"{n}={v}" for n, v in self.options.items())])


PAIRS = [
    Pair("Adam", lambda: ao.adam(RATE, **PYTORCH.adam)),
    Pair(
        "AdamW",
        lambda: ao.adamw(RATE, **{**PYTORCH.adamw, "weight_decay": 0.1}),
        {"weight_decay": 0.1},
    ),
    Pair("NAdam", lambda: scheduled_nadam(RATE, **PYTORCH.scheduled_nadam)),
    Pair("RAdam", lambda: ao.radam(RATE, **PYTORCH.radam), off=CANCELLED),
    Pair("Adamax", lambda: ao.adamax(RATE, **PYTORCH.adamax)),
    Pair("Adam", lambda: ao.amsgrad(RATE, **PYTORCH.amsgrad), {"amsgrad": True}),
]
EACH = pytest.mark.parametrize("pair", PAIRS, ids=[pair.id for pair in PAIRS])


@pytest.fixture(autouse=True)
def doubles(x64: None) -> Iterator[None]:
    """Let PyTorch keep NAdam's product of momenta in double, too: it takes the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Torch:
    """Train a linear layer with one of PyTorch's optimizers."""

    def __init__(self, pair: Pair, start: Mapping[str, Any] = START, named: bool = True) -> None:
        self.module = torch.nn.Linear(3, 4)
        self.module.load_state_dict({n: torch.tensor(x) for n, x in start.items()})
        parameters = self.module.named_parameters() if named else self.module.parameters()
        kind = getattr(torch.optim, pair.theirs)
        self.optimizer = kind(parameters, lr=RATE, **pair.options)

    def run(self, first: int, last: int) -> "Torch":
        """Make the steps of this range."""
        for step in range(first, last):
            for name, parameter in self.module.named_parameters():
                parameter.grad = torch.tensor(GRADS[name][step])
            self.optimizer.step()
        return self

    @property
    def params(self) -> dict[str, Any]:
        """Return the parameters in PyTorch's layout."""
        return {n: p.detach().numpy().copy() for n, p in self.module.named_parameters()}


def to_ours(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Convert from PyTorch's layout to ours, also gradients with a leading axis of steps."""
    weight = np.swapaxes(tree["weight"], -1, -2)
    return {"kernel": jnp.asarray(weight), "bias": jnp.asarray(tree["bias"])}


def to_theirs(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Convert from our layout to PyTorch's."""
    return {"weight": np.asarray(tree["kernel"]).T, "bias": np.asarray(tree["bias"])}


def our_run(tx: Any, state: Any, params: Any, first: int, last: int) -> tuple[Any, Any]:
    """Return the parameters and the state after the steps of this range."""
    resumed = optax.GradientTransformationExtraArgs(lambda _: state, tx.update)
    grads = jax.tree.map(lambda g: g[first:last], to_ours(GRADS))
    _, params, state = run(resumed, grads, params)
    return params, state


def off(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> float:
    """Return how far apart two ends are, as a fraction of the way there."""
    return max(relative_rms(ours[n] - START[n], theirs[n] - START[n]) for n in START)


@EACH
@pytest.mark.parametrize("named", [True, False], ids=["named", "order"])
def test_100_steps_in_pytorch_and_100_here_are_200_in_pytorch(pair: Pair, named: bool) -> None:
    alone, half, tx = Torch(pair).run(0, STEPS), Torch(pair, named=named).run(0, HALF), pair.ours()
    params = to_ours(half.params)
    order = None if named else ["weight", "bias"]
    state = half.optimizer.state_dict()
    told = {"tx": tx, "params": params, "model": half.module.state_dict()}  # which warns of nothing
    state = ao.convert.from_torch(state, tx.init(params), NAMES, order=order, **told)
    assert int(state[0].count) == HALF
    params, _ = our_run(tx, state, params, HALF, STEPS)
    assert off(to_theirs(params), alone.params) < pair.off


@EACH
def test_100_steps_here_and_100_in_pytorch_are_200_in_pytorch(pair: Pair) -> None:
    alone, tx, params = Torch(pair).run(0, STEPS), pair.ours(), to_ours(START)
    params, state = our_run(tx, tx.init(params), params, 0, HALF)
    other = Torch(pair, to_theirs(params))
    fresh = other.optimizer.state_dict()
    other.optimizer.load_state_dict(ao.convert.to_torch(state, NAMES, fresh))
    assert fresh["state"] == {}
    assert off(other.run(HALF, STEPS).params, alone.params) < pair.off


@EACH
def test_there_and_back_is_the_same_to_the_bit(pair: Pair) -> None:
    half = Torch(pair).run(0, HALF).optimizer.state_dict()
    tx, params = pair.ours(), to_ours(START)
    state = ao.convert.from_torch(half, tx.init(params), NAMES, tx=tx, params=params)
    back = ao.convert.to_torch(state, NAMES, half)
    assert back["param_groups"] == half["param_groups"]
    for i, kept in half["state"].items():
        assert kept.keys() == back["state"][i].keys()
        for name, x in kept.items():
            y = back["state"][i][name]
            assert (x.dtype, x.shape, x.tolist()) == (y.dtype, y.shape, y.tolist()), name


def test_groups_of_square_layers_keep_their_moments_and_go_on_in_two_bytes() -> None:
    """With the order of `named_parameters()` each layer would get the other's moments."""
    net = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.Linear(16, 16))
    optimizer = torch.optim.AdamW(
        [{"params": net[1].parameters(), "lr": 1e-2}, {"params": net[0].parameters()}]
    )
    net(torch.ones(3, 16)).square().sum().backward()
    optimizer.step()
    state_dict = optimizer.state_dict()
    by_id = {p: name for name, p in net.named_parameters()}
    order = [[by_id[p] for p in group["params"]] for group in optimizer.param_groups]
    assert order == [["1.weight", "1.bias"], ["0.weight", "0.bias"]]
    names: ao.convert.Names = {
        n: (n, (1, 0)) if n.endswith("weight") else n for n in net.state_dict()
    }
    blank = {n: jnp.zeros(p.shape) for n, p in net.named_parameters()}
    params = ao.convert.params_from_torch(net.state_dict(), blank, names)
    tx = ao.adamw(1e-2, **PYTORCH.adamw, storage=ao.storage.pair(4))
    with pytest.warns(UserWarning, match=r"group 1: learning_rate is 0\.001 in PyTorch, 0\.01 in"):
        state = ao.convert.from_torch(
            state_dict,
            tx.init(params),
            names,
            order=order,
            model=net.state_dict(),
            tx=tx,
            params=params,
        )
    found = ao.read_moments(state, tx, params)["mu"]
    for name, p in net.named_parameters():
        right = optimizer.state[p]["exp_avg"].numpy().T
        # A step of the ratio's grid in four bytes (`RATIO` of the formats' properties).
        np.testing.assert_allclose(found[name], right, rtol=0.01)
        np.testing.assert_array_equal(params[name], p.detach().numpy().T)
    with pytest.raises(ao.convert.ConversionError, match="Confirm it by one list of names for"):
        ao.convert.torch_to_named(state_dict, names, order=list(names))
    one, other = ao.convert.read_groups(state_dict, order=order)
    rates = (one.hyperparameters["learning_rate"], other.hyperparameters["learning_rate"])
    assert rates == (1e-2, 1e-3)


def test_bfloat16_tensors_are_read_and_written() -> None:
    half = Torch(PAIRS[0])
    half.module.to(torch.bfloat16)
    for p in half.module.parameters():
        p.grad = torch.ones_like(p)
    half.optimizer.step()
    template = ao.adam(1e-3).init({"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)})
    theirs = half.optimizer.state_dict()
    state = ao.convert.from_torch(theirs, template, NAMES)
    assert float(state[0].mu["bias"][0]) == float(theirs["state"][1]["exp_avg"][0])
    half.optimizer.load_state_dict(ao.convert.to_torch(state, NAMES, theirs))
    again = half.optimizer.state_dict()["state"][1]["exp_avg"]
    assert again.dtype == torch.bfloat16
    assert torch.equal(again, theirs["state"][1]["exp_avg"])


@pytest.mark.parametrize("other", ["SGD", "SparseAdam", "Adagrad", "RMSprop"])
def test_another_optimizer_s_groups_are_refused(other: str) -> None:
    groups = getattr(torch.optim, other)(torch.nn.Linear(3, 4).named_parameters()).state_dict()
    state = ao.adam(1e-3).init(to_ours(START))
    with pytest.raises(ao.convert.ConversionError, match="not of one of Adam, AdamW, NAdam, RAdam"):
        ao.convert.to_torch(state, NAMES, groups)


def test_a_complex_run_is_refused() -> None:
    p = torch.nn.Parameter(torch.ones(3, dtype=torch.complex128))
    optimizer = torch.optim.Adam([("w", p)])
    p.grad = torch.ones_like(p) * 1j
    optimizer.step()
    template = ao.adam(1e-3).init({"w": jnp.ones(3, complex)})
    with pytest.raises(ao.convert.ConversionError, match=r"nu/w is complex128 in the source"):
        ao.convert.from_torch(optimizer.state_dict(), template, {"w": "w"})
    with pytest.raises(ao.convert.ConversionError, match="squares of real and imaginary parts"):
        ao.convert.to_torch(template, {"w": "w"}, optimizer.state_dict())


def test_a_parameter_without_gradient_is_named() -> None:
    half = Torch(PAIRS[0])
    half.module.weight.grad = torch.ones(4, 3)
    half.optimizer.step()
    template = ao.adam(1e-3).init(to_ours(START))
    with pytest.raises(ao.convert.ConversionError, match=r"^'bias' has no state in PyTorch"):
        ao.convert.from_torch(half.optimizer.state_dict(), template, NAMES)


def test_an_optimizer_of_sharded_tensors_is_refused() -> None:
    class Sharded:
        """Behave like `DTensor` of torch.distributed."""

        def full_tensor(self) -> None:
            """Gather the tensor, which this one never does."""

    kept = {"step": 1.0, "exp_avg": Sharded(), "exp_avg_sq": Sharded()}
    sharded = {"state": {0: kept}, "param_groups": [{"params": [0], "param_names": ["w"]}]}
    template = ao.adam(1e-3).init({"w": jnp.ones(3)})
    with pytest.raises(ao.convert.ConversionError, match="exp_avg of 'w' is sharded"):
        ao.convert.from_torch(sharded, template, {"w": "w"})


def test_files_by_the_command_and_back(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    half = Torch(PAIRS[0]).run(0, HALF)
    state = half.optimizer.state_dict()
    torch.save({"model": half.module.state_dict(), "optimizer": state}, "checkpoint.pt")
    torch.save(Torch(PAIRS[0], named=False).optimizer.state_dict(), "fresh.pt")
    pathlib.Path("names.json").write_text(json.dumps(NAMES))
    there = "--key optimizer --names names.json --out state.safetensors"
    assert main.main(["convert", "checkpoint.pt", *there.split()]) == 0
    ours = ao.convert.load("state.safetensors", PAIRS[0].ours().init(to_ours(START)))
    assert int(ours[0].count) == HALF
    back = "--to torch --like fresh.pt --names names.json --out new.pt"
    assert main.main(["convert", "state.safetensors", *back.split()]) == 0
    for i, kept in torch.load("new.pt", weights_only=True)["state"].items():
        for name, x in kept.items():
            assert torch.equal(x, state["state"][i][name]), name


class Malicious:
    """Write a file when the pickle is read."""

    def __reduce__(self) -> Any:
        return (pathlib.Path.touch, (pathlib.Path("owned"),))


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pathlib.Path("names.json").write_text(json.dumps(NAMES))
    good = Torch(PAIRS[0]).run(0, 1).optimizer.state_dict()
    torch.save(good, "good.pt")
    whole = pathlib.Path("good.pt").read_bytes()
    torch.save(good | {"state": Malicious()}, "bad.pt")
    hostile = pathlib.Path("bad.pt").read_bytes()
    assert torch.load("bad.pt", weights_only=False)  # the pickle does run code where it may
    pathlib.Path("owned").unlink()
    for content in (hostile, whole[:-99], whole[:200], b"", b"\x80\x04.", b"no pickle"):
        pathlib.Path("bad.pt").write_bytes(content)
        out = "--names names.json --out state.safetensors"
        assert main.main(["convert", "bad.pt", *out.split()]) == 2
        error = capsys.readouterr().err
        assert error.startswith("adam-optax: error: bad.pt is damaged, or not a PyTorch file of")
        assert error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.pt", "good.pt", "names.json"]


def test_a_checkpoint_without_the_optimizer_s_key_is_refused(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pathlib.Path("names.json").write_text(json.dumps(NAMES))
    torch.save({"model": {}, "optimizers": [{}]}, "checkpoint.pt")
    torch.save({"state": {}, "param_groups": 3}, "groups.pt")
    for source, text in [
        ("checkpoint.pt", "has model, optimizers where a state_dict of an optimizer has state"),
        ("checkpoint.pt --key optimizer", "checkpoint.pt has no 'optimizer' of --key optimizer;"),
        ("checkpoint.pt --key optimizers/1", "has no '1' of --key optimizers/1; there is list"),
        ("groups.pt", "a PyTorch optimizer's state_dict has 'state' and 'param_groups'"),
    ]:
        options = f"{source} --names names.json --out state.safetensors"
        assert main.main(["convert", *options.split()]) == 2
        error = capsys.readouterr().err
        assert text in error
        assert error.count("\n") == 1
    assert not pathlib.Path("state.safetensors").exists()


def _text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def test_what_is_nested_too_deeply_is_one_line(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pathlib.Path("names.json").write_text(json.dumps({"w": "w"}))
    ao.convert.save("state.safetensors", ao.adam(1e-3).init({"w": jnp.ones(3)}))
    deep = b"]" * 5000 + b"a" * 4999
    group = b"}(" + _text("params") + b"](K\x00e" + _text("amsgrad") + b"\x89" + _text("x") + deep
    outer = b"\x80\x02}(" + _text("state") + b"}" + _text("param_groups") + b"](" + group + b"ueu."
    pathlib.Path("deep.pt").write_bytes(archive_bytes(outer, []))
    back = "--to torch --like deep.pt --names names.json --out new.pt"
    assert main.main(["convert", "state.safetensors", *back.split()]) == 2
    error = capsys.readouterr().err
    assert "state.safetensors, or a file named with it, is nested too deeply" in error
    assert error.count("\n") == 1


@pytest.mark.filterwarnings("ignore:ComplexHalf support")
def test_files_are_read_as_pytorch_reads_them(tmp_path: pathlib.Path) -> None:
    """Every dtype, views, parameters and PyTorch's plain values, without PyTorch."""
    x = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    names = "bfloat16 float16 float32 float64 complex64 complex128 float8_e4m3fn float8_e5m2 uint8"
    names += " float8_e4m3fnuz float8_e5m2fnuz int8 int16 int32 int64 uint16 uint32 uint64 bool"
    dtypes = {name: torch.ones(2, 2).to(getattr(torch, name)) for name in names.split()}
    turned = torch.tensor([1 + 2j, 3 - 1j])
    views = {"t": x.t(), "part": x[1:, ::2], "again": x, "one": torch.ones(()), "no": x[:0]}
    views |= {"conj": turned.clone().conj(), "neg": turned.clone().conj().imag}
    plain: dict[Any, Any] = {
        "size": x.shape,
        "ints": [0, -1, 2**31, 2**70],
        "rest": (None, True, 0.5, "é"),
        3: {},
    }
    state = torch.nn.Linear(3, 2).state_dict()
    torch.save({**dtypes, **views, **plain, "model": state}, tmp_path / "run.pt")
    found = read_torch(tmp_path / "run.pt")
    for name, wanted in (dtypes | views | dict(state)).items():
        got = found["model"][name] if name in state else found[name]
        whole = wanted.resolve_conj().resolve_neg()
        narrow = name.startswith(("float8", "bfloat16"))
        np.testing.assert_array_equal(got, (whole.float() if narrow else whole).numpy())
        assert got.dtype.name == str(wanted.dtype).removeprefix("torch.")
    assert {name: found[name] for name in plain} == plain
    half = torch.tensor([1 + 5j, 2 - 1j]).to(torch.complex32)
    torch.save({"half": half}, tmp_path / "half.pt")
    np.testing.assert_array_equal(read_torch(tmp_path / "half.pt")["half"], [1 + 5j, 2 - 1j])
    np.testing.assert_array_equal(to_numpy(half, "half"), [1 + 5j, 2 - 1j])


def test_what_the_tests_write_is_what_pytorch_reads(tmp_path: pathlib.Path) -> None:
    value = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": [1, 2.5, None, (3,)]}
    found = torch.load(write_torch_file(tmp_path / "run.pt", value), weights_only=True)
    np.testing.assert_array_equal(found["a"].numpy(), value["a"])
    assert found["b"] == value["b"]
