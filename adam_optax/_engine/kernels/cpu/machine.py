"""Make loops of LLVM IR ready for this processor, and tell XLA of them.

A loop becomes the target of a custom call: a handler of XLA's foreign function interface (FFI) that
runs it over a leaf on XLA's own threads (`runtime.c`, shipped as LLVM IR in `runtime.ll`). Its name
is a hash of all that it is made of, so that what JAX keeps on disk fits in another process.
llvmlite is imported when the first loop is made.
"""

import ctypes
import functools
import hashlib
import importlib
import importlib.resources
import importlib.util
import platform
import sys
import threading
import warnings
from typing import TYPE_CHECKING, NamedTuple

import jax
import jaxlib

if TYPE_CHECKING:
    from llvmlite.binding import TargetMachine

OLDEST = (0, 45)
"""The first llvmlite (LLVM 20) whose pointers are all opaque."""

PROCESSORS = ("x86_64", "aarch64", "arm64")

NOTHING = "define void @loop(ptr %s, ptr %i, ptr %o, i64 %b, i64 %e, i64 %c) {\n  ret void\n}\n"

HANDLER = """
define ptr @handler(ptr %frame) {{
  %run = inttoptr i64 {address} to ptr
  %error = call ptr %run(ptr %frame, ptr @loop, i64 {scalars}, i64 {arrays}, i64 {results},
                         i64 {width}, i64 {by_row})
  ret ptr %error
}}
"""

_lock = threading.RLock()
_targets: set[str] = set()


class Signature(NamedTuple):
    """Say how a loop is called.

    Attributes:
        scalars: how many of the custom call's first operands are one number for the whole leaf.
        arrays: how many operands follow; the first of them has the leaf's shape.
        results: how many results the custom call has.
        width: elements of a unit.
        by_row: whether each row along the last axis has units of its own; else the leaf is one row.
    """

    scalars: int
    arrays: int
    results: int
    width: int
    by_row: bool


class _Missing(Exception):
    """Tell why no loop can be made here; `quiet` where the user chose so."""

    def __init__(self, reason: str, quiet: bool = False) -> None:
        super().__init__(reason)
        self.quiet = quiet


@functools.cache
def is_installed() -> bool:
    """Tell whether llvmlite is there, without importing it."""
    return importlib.util.find_spec("llvmlite") is not None


def why_not() -> str:
    """Return why no loop can be made in this process, in one line; empty if loops can.

    Call it when a program is compiled for CPUs: it makes JAX look for its devices.

    Warns:
        RuntimeWarning: once, for every reason but that llvmlite is not installed, or that JAX was
            told to use no CPU.
    """
    with _lock:
        return _why_not()


@functools.cache  # the warning is given once
def _why_not() -> str:
    try:
        _check_llvmlite()
        _check_platform()
        _check_ffi()
    except _Missing as missing:
        if not missing.quiet:
            warnings.warn(
                f"no loops for CPUs: {missing}. Steps there are compiled by XLA alone, to the same "
                "results, slower. Without llvmlite nothing warns",
                RuntimeWarning,
                stacklevel=3,
            )
        return str(missing)
    return ""


def _check_llvmlite() -> None:
    try:
        import llvmlite

        importlib.import_module("llvmlite.binding")  # which loads LLVM itself
    except ImportError as error:
        raise _Missing("llvmlite is not installed", quiet=True) from error
    except OSError as error:
        raise _Missing(f"llvmlite cannot load LLVM ({_line(error)})") from error
    found = tuple(int(x) for x in llvmlite.__version__.split(".")[:2])
    if found < OLDEST:
        needed = ".".join(map(str, OLDEST))
        raise _Missing(f"llvmlite {llvmlite.__version__} is too old; install llvmlite>={needed}")


def _check_platform() -> None:
    here = f"{sys.platform} on {platform.machine()}"
    if sys.platform not in ("linux", "darwin") or platform.machine() not in PROCESSORS:
        raise _Missing(f"they are for Linux and macOS on x86-64 or AArch64, this is {here}")
    if sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != 8:
        raise _Missing(f"they are for little-endian processes of 64 bits, unlike this {here}")


def _check_ffi() -> None:
    """Register a handler that does nothing: XLA refuses one of another version.

    Where JAX has not made its CPU devices yet, XLA would refuse only then, and JAX have no CPU.
    """
    try:
        jax.local_devices(backend="cpu")
    except RuntimeError as error:
        raise _Missing("JAX uses no CPU in this process", quiet=True) from error
    try:
        _register(NOTHING, Signature(0, 1, 0, 1, False))
    except Exception as error:  # whatever this LLVM or this XLA says
        raise _Missing(
            f"llvmlite or jaxlib {jaxlib.version.__version__} does not take the runtime of this "
            f"adam_optax; install a newer one ({_line(error)})"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


@functools.cache
def lanes() -> int:
    """Return how many elements of four bytes a vector of a loop best has on this processor."""
    features = _processor()[2].split(",")
    return 64 if "+avx512f" in features else 32


def ffi_target(ir: str, signature: Signature) -> str:
    """Make a loop ready, and return the name of the custom call's target that runs it.

    The same text and signature have the same name in every process on this kind of processor, and
    are compiled once in each.

    Args:
        ir: LLVM IR that defines `void @loop(ptr %scalars, ptr %in, ptr %out, i64 %begin, i64 %end,
            i64 %columns)`, where the pointers are to arrays of pointers to the buffers, and the
            loop does the units from begin to end. Units are numbered through all rows, and a row of
            so many columns has `ceil(columns / width)` of them.
        signature: how the loop is called.

    Raises:
        RuntimeError: if no loop can be made here (`why_not`), LLVM cannot read the text, or the
            loop calls a function that this process does not have.
    """
    reason = why_not()
    if reason:
        raise RuntimeError(f"no loop for CPUs can be made: {reason}")
    return _register(ir, signature)


def _register(ir: str, signature: Signature) -> str:
    with _lock:
        text = _runtime_text()
        parts = (ir, repr(tuple(signature)), text, *_processor())
        name = f"adam_optax_loop_{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}"
        if name not in _targets:
            numbers = {part: int(value) for part, value in signature._asdict().items()}
            handler = HANDLER.format(address=_run_address(text), **numbers)
            address = _compile(ir + handler, "handler")
            _tell_xla(name, address)
            _targets.add(name)
        return name


def _tell_xla(name: str, address: int) -> None:
    capsule = jax.ffi.pycapsule(ctypes.cast(address, ctypes.CFUNCTYPE(ctypes.c_void_p)))
    try:
        jax.ffi.register_ffi_target(name, capsule, platform="cpu")
    except jax.errors.JaxRuntimeError as error:
        # This module was imported twice in one process. What the first one made has the same name
        # because it does the same, and stays.
        if "Duplicate FFI handler registration" not in str(error):
            raise


@functools.cache
def _runtime_text() -> str:
    return importlib.resources.files(__package__).joinpath("runtime.ll").read_text("utf-8")


@functools.cache
def _run_address(text: str) -> int:
    """Return where the runtime is, compiled once in a process."""
    return _compile(text, "adam_optax_run")


@functools.cache
def _processor() -> tuple[str, str, str]:
    """Return the version of LLVM, the host's name and its features, by which loops are compiled."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    try:
        features = llvm.get_host_cpu_features().flatten()
    except RuntimeError:  # LLVM cannot tell; the name says enough
        features = ""
    if platform.machine() == "x86_64":
        # Loops are of wide vectors alone, for which 512 bits at once measured best.
        features = ",".join(filter(None, (features, "-prefer-256-bit")))
    version = ".".join(map(str, llvm.llvm_version_info))
    return version, llvm.get_host_cpu_name(), features


def _compile(ir: str, entry: str) -> int:
    """Compile a module for this processor, and return the address of its entry.

    The code stays until the process ends: XLA forgets no handler, and its threads may outlive
    Python's objects.
    """
    import llvmlite.binding as llvm

    machine = _target_machine()
    module = llvm.parse_assembly(ir)
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    module.verify()
    process = ctypes.CDLL(None)
    for function in module.functions:
        known = not function.is_declaration or function.name.startswith("llvm.")
        if not (known or hasattr(process, function.name)):  # LLVM would end the process
            raise RuntimeError(f"the loop calls {function.name}, which this process does not have")
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.slp_vectorization = False  # vectors are written out
    options.loop_unrolling = options.loop_interleaving = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    # By way of an object: an engine that compiles a module keeps 7 times as much memory.
    code = llvm.ObjectFileRef.from_data(machine.emit_object(module))
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine())
    engine.add_object_file(code)
    engine.finalize_object()
    address: int = engine.get_function_address(entry)
    engine.detach()
    return address


def _target_machine() -> "TargetMachine":
    import llvmlite.binding as llvm

    _, cpu, features = _processor()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=cpu, features=features, opt=3, codemodel="jitdefault", jit=True
    )
