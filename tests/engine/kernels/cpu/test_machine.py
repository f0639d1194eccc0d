"""Loops of LLVM IR behind custom calls: made for this processor, named by content, run by XLA."""

import concurrent.futures
import hashlib
import json
import pathlib
import subprocess
import sys
import warnings
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import llvmlite.binding as llvm
import numpy as np
import pytest

from adam_optax._engine.kernels.cpu import machine
from adam_optax._engine.kernels.cpu.machine import Signature, ffi_target, why_not
from tests.engine.kernels.cpu.loops import LOOP, WIDTH, arguments, divide
from tests.engine.sharding.devices import ROOT, environment, pytest_with
from tests.support.cpu_runtime import SOURCE, first_line
from tests.support.versions import SINCE_0_10_2

SIGNATURE = Signature(scalars=1, arrays=2, results=2, width=WIDTH, by_row=False)
BIG = 2**20 + 3


def check(shape: tuple[int, ...], by_row: bool = False) -> None:
    a, x, y = arguments(shape)
    r, q = jax.jit(divide, static_argnums=3)(a, x, y, by_row)
    np.testing.assert_array_equal(r, np.asarray(x) / np.float32(3))
    np.testing.assert_array_equal(q, np.ones(shape))  # each element once


@pytest.mark.parametrize(
    "size", [0, 1, 127, pytest.param(128, marks=pytest.mark.quick), 129, 2**15, 2**15 + 1, BIG]
)
def test_each_element_is_done_once(size: int) -> None:
    check((size,))


@pytest.mark.parametrize(
    "shape",
    [(), (5, 0), (0, 5), (7,), (3, 200), (3, 1), (2, 3, 128), (70_001, 2), (300, 129), (2, 70_001)],
    ids=str,
)
def test_each_row_has_its_own_units(shape: tuple[int, ...]) -> None:
    check(shape, by_row=True)


@SINCE_0_10_2
def test_results_take_the_places_of_donated_arguments() -> None:
    a, x, y = arguments((1000,))
    places = [z.unsafe_buffer_pointer() for z in (x, y)]
    done = jax.jit(divide, donate_argnums=(1, 2))(a, x, y)
    assert [z.unsafe_buffer_pointer() for z in done] == places


def test_in_scan_and_cond() -> None:
    @jax.jit
    def run(a: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        def body(y: jax.Array, even: jax.Array) -> tuple[jax.Array, None]:
            return jax.lax.cond(even, lambda y: divide(a, x, y)[1], lambda y: y + 100, y), None

        return jax.lax.scan(body, y, jnp.arange(6) % 2 == 0)[0]

    np.testing.assert_array_equal(run(*arguments((BIG,))), np.full(BIG, 303))


def test_from_many_threads_at_once() -> None:
    a, x, y = arguments((BIG,))
    run = jax.jit(divide)
    want = run(a, x, y)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for r, q in pool.map(lambda _: run(a, x, y), range(24)):
            assert (r == want[0]).all()
            assert (q == 1).all()


@pytest.mark.parametrize("size", [10, BIG])
def test_subnormals_are_as_in_the_code_of_xla(size: int) -> None:
    """XLA flushes them to zero on its threads, as arguments and as results."""
    x = jnp.where(jnp.arange(size) % 2 == 0, jnp.float32(1e-39), jnp.float32(2e-38))
    r, _ = jax.jit(divide)(jnp.float32(2.5), x, jnp.zeros(size))
    want = jax.jit(jnp.divide)(x, jnp.full(size, 2.5, jnp.float32))
    np.testing.assert_array_equal(r, want)
    assert not r.any()


@pytest.mark.parametrize(
    ("signature", "what"),
    [(Signature(2, 2, 2, WIDTH, False), "operands"), (Signature(1, 2, 1, WIDTH, False), "results")],
    ids=["operands", "results"],
)
def test_another_number_of_operands_is_an_error(signature: Signature, what: str) -> None:
    _, x, y = arguments((5,))
    call = jax.ffi.ffi_call(ffi_target(LOOP, signature), (jax.typeof(x),) * 2)
    with pytest.raises(jax.errors.JaxRuntimeError, match=f"another number of {what} than it has"):
        jax.block_until_ready(jax.jit(call)(jnp.float32(1), x, y))


@pytest.mark.quick
def test_the_name_says_what_the_loop_is(monkeypatch: pytest.MonkeyPatch) -> None:
    name = ffi_target(LOOP, SIGNATURE)
    assert ffi_target(LOOP, SIGNATURE) == name
    changed = [SIGNATURE._replace(scalars=2), SIGNATURE._replace(width=64)]
    changed += [SIGNATURE._replace(by_row=True)]
    names = {name, ffi_target(LOOP + "\n", SIGNATURE), *(ffi_target(LOOP, s) for s in changed)}
    assert len(names) == 5
    # Imported anew, or in another process: the addresses are others, the name is the same.
    monkeypatch.setattr(machine, "_targets", set())
    machine._run_address.cache_clear()
    assert ffi_target(LOOP, SIGNATURE) == name
    check((5,))
    version, cpu, features = machine._processor()
    monkeypatch.setattr(machine, "_processor", lambda: (version, cpu, features + " "))
    assert ffi_target(LOOP, SIGNATURE) not in names


def test_threads_that_make_the_same_loop_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    compile_ = machine._compile
    monkeypatch.setattr(machine, "_compile", lambda *a: made.append(a) or compile_(*a))  # type: ignore[func-returns-value]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        names = set(pool.map(lambda i: ffi_target(f"{LOOP}; {i % 2}\n", SIGNATURE), range(16)))
    assert len(names) == len(made) == 2


@pytest.mark.parametrize(
    ("ir", "message"),
    [
        ("define void @other() {\n  ret void\n}\n", "use of undefined value '@loop'"),
        (LOOP.replace("fdiv float", "fdiv i32"), "parsing error"),
        (
            LOOP.replace("ret void", "call void @adam_no_such()\n  ret void")
            + "declare void @adam_no_such()\n",
            "the loop calls adam_no_such, which this process does not have",
        ),
    ],
    ids=["no loop", "no IR", "no such function"],
)
def test_what_is_no_loop_is_an_error(ir: str, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        ffi_target(ir, SIGNATURE)


@pytest.mark.quick
def test_the_text_is_that_of_the_source_for_any_platform() -> None:
    text = SOURCE.with_suffix(".ll").read_text()
    assert text.startswith(first_line() + "\n"), "python -m tests.support.cpu_runtime"
    assert text.splitlines()[0].endswith(hashlib.sha256(SOURCE.read_bytes()).hexdigest())
    for word in ("target ", "attributes", "x86", "!dbg", "!tbaa", "source_filename"):
        assert word not in text


PLATFORMS = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"]
PLATFORMS += ["x86_64-apple-macosx13.0", "arm64-apple-macosx14.0"]


@pytest.mark.parametrize("triple", PLATFORMS)
def test_llvm_compiles_the_text_for_every_platform(triple: str) -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple(triple).create_target_machine(codemodel="jitdefault", jit=True)
    module = llvm.parse_assembly(machine._runtime_text())
    module.triple, module.data_layout = target.triple, str(target.target_data)
    module.verify()
    assert b"adam_optax_run" in target.emit_object(module)


@pytest.fixture
def asked_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    machine._why_not.cache_clear()
    yield monkeypatch
    machine._why_not.cache_clear()


def why_not_warned() -> tuple[str, list[str]]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        reasons = {why_not(), why_not()}
    (reason,) = reasons
    return reason, [str(w.message) for w in said if w.category is RuntimeWarning]


@pytest.mark.quick
def test_without_llvmlite_nothing_warns(asked_anew: pytest.MonkeyPatch) -> None:
    asked_anew.setitem(sys.modules, "llvmlite", None)
    assert why_not_warned() == ("llvmlite is not installed", [])
    with pytest.raises(RuntimeError, match="no loop for CPUs can be made: llvmlite is not"):
        ffi_target(LOOP, SIGNATURE)


def test_without_a_cpu_nothing_warns(asked_anew: pytest.MonkeyPatch) -> None:
    def no_cpu(**_: object) -> None:
        raise RuntimeError("Unknown backend cpu")

    asked_anew.setattr(jax, "local_devices", no_cpu)
    assert why_not_warned() == ("JAX uses no CPU in this process", [])


@pytest.mark.parametrize(
    ("where", "value", "reason"),
    [
        ("llvmlite.__version__", "0.44.1", "llvmlite 0.44.1 is too old; install llvmlite>=0.45"),
        ("sys.platform", "win32", "for Linux and macOS on x86-64 or AArch64, this is win32 on"),
        ("platform.machine", lambda: "riscv64", "this is linux on riscv64"),
        ("sys.byteorder", "big", "for little-endian processes of 64 bits"),
    ],
    ids=["old llvmlite", "Windows", "RISC-V", "big-endian"],
)
def test_what_is_in_the_way_is_said_once(
    asked_anew: pytest.MonkeyPatch, where: str, value: object, reason: str
) -> None:
    asked_anew.setattr(where, value)
    found, (said,) = why_not_warned()
    assert reason in found
    assert said.startswith(f"no loops for CPUs: {found}. Steps there are compiled by XLA alone")


@pytest.mark.parametrize(("major", "minor"), [(9, 0), (0, 999), (0, 0)])
def test_an_ffi_of_another_version_is_said_once(
    asked_anew: pytest.MonkeyPatch, major: int, minor: int
) -> None:
    text = machine._runtime_text()
    for name, now in (("major", major), ("minor", minor)):
        head, sep, tail = text.partition(f"@ffi_{name} = internal constant i32 ")
        text = head + sep + str(now) + tail.lstrip("0123456789")
    asked_anew.setattr(machine, "_runtime_text", lambda: text)
    found, (said,) = why_not_warned()
    assert "does not take the runtime of this adam_optax; install a newer one (" in found
    assert f"API version ({major}.{minor}) is incompatible" in found
    assert found in said
    assert jnp.ones(3).sum() == 3, "JAX runs on"


@pytest.mark.heavy
def test_on_eight_devices() -> None:
    assert " passed" in pytest_with(8, "tests/engine/kernels/cpu/on_eight_devices.py")


PROGRAM = """
import json, jax, numpy as np
from tests.engine.kernels.cpu.loops import arguments, divide
seen = []
jax.monitoring.register_event_listener(lambda event, **_: seen.append(event))
args = arguments((100_000,))
before = len(seen)
r, q = jax.jit(divide)(*args)
assert (np.asarray(r) == np.asarray(args[1]) / np.float32(3)).all() and (q == 1).all()
print(json.dumps([e.rpartition("/")[2] for e in seen[before:] if "/cache_" in e]))
"""


@pytest.mark.heavy
def test_what_jax_keeps_on_disk_runs_in_another_process(tmp_path: pathlib.Path) -> None:
    """The loop is made known where the program is lowered, which comes before the cache."""
    events = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=ROOT,
            env=environment(1) | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        events.append(json.loads(done.stdout))
    assert "cache_misses" in events[0]
    assert "cache_hits" not in events[0]
    assert "cache_hits" in events[1]
    assert "cache_misses" not in events[1]
