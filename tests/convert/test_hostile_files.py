"""Test files that are damaged, forged or made to fill the memory: one clear error, or the truth."""

import io
import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

import adam_optax as ao
from adam_optax.convert._files import read_arrays, read_named, write_arrays, write_named
from adam_optax.convert._keras_files import read_keras, write_keras
from adam_optax.convert._torch_files import read_torch
from tests.convert.layouts import BIAS, KERAS, MEAN, PARAMS, named, state_dict, variables
from tests.convert.test_files import keras_file, refused
from tests.support.torch_files import Call, View, archive_bytes, torch_bytes, write_torch_file
from tests.support.valid_files import same, weights_bytes

ADAM = ao.adam(1e-3)
FLOATS = [n for n in dir(ml_dtypes) if n.startswith("float") and n != "float8_e8m0fnu"]
FLOATS = [n for n in FLOATS if isinstance(getattr(ml_dtypes, n), type)]
COUNTS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


@pytest.mark.quick
def test_every_dtype_of_moments_and_counts_is_saved(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    for dtype in [*FLOATS, *(">f4", ">f8", ">c16", "<c8", "f2")]:
        x = np.array([1, 2, 4], dtype)
        for count in COUNTS if dtype == ">f4" else COUNTS[:1]:
            write_named(path, {"count": np.array(5, count), "mu/w": x, "nu/w": x})
            found = read_named(path)
            assert found["count"] == 5
            assert found["mu/w"].dtype == x.dtype.newbyteorder("=")
            np.testing.assert_array_equal(found["mu/w"], x)
    text = "mu/w is longdouble, which no .safetensors file can hold; cast it"
    wide = {"count": np.array(5), "mu/w": np.ones(1, np.longdouble), "nu/w": np.ones(1)}
    refused(
        text.replace("longdouble", str(np.dtype(np.longdouble))), lambda: write_named(path, wide)
    )
    refused("cannot write", lambda: write_arrays(path, {"\ud800": np.ones(1)}, {}))


@pytest.mark.parametrize("dtype", ["float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e3m4"])
def test_a_state_of_any_float8_comes_back(tmp_path: Path, dtype: str) -> None:
    state = ao.adam(1e-3, mu_dtype=dtype).init(PARAMS)
    ao.convert.save(tmp_path / "state.safetensors", state)
    again = ao.convert.load(tmp_path / "state.safetensors", state)
    assert again[0].mu["dense"]["bias"].dtype == dtype


def flips(content: bytes, every: int) -> Any:
    """Yield copies of a file with one bit flipped, for every so many bytes."""
    for i in range(0, len(content), every):
        changed = bytearray(content)
        changed[i] ^= 1 << (i % 8)
        yield bytes(changed)


READERS: dict[str, Callable[[Path], Any]] = {
    "state.safetensors": read_named,
    "run.pt": read_torch,
    "model.keras": lambda path: [(v.path, v.value) for v in read_keras(path, list(KERAS))],
}


def good_file(folder: Path, name: str) -> Path:
    """Write a file with nothing wrong in it."""
    path = folder / name
    if name.endswith(".keras"):
        return keras_file(path, [v.value for v in variables()])
    if name.endswith(".pt"):
        return write_torch_file(path, state_dict())
    write_named(path, named(), "adam")
    return path


@pytest.mark.quick
@pytest.mark.parametrize("name", READERS)
def test_a_flipped_bit_is_seen_or_changes_nothing(tmp_path: Path, name: str) -> None:
    """Of a `.keras` file, the weights: `config.json` and what HDF5 pads are not read."""
    path, read = good_file(tmp_path, name), READERS[name]
    content, truth = path.read_bytes(), read(path)
    assert same(truth, truth)
    refused_ones = 0
    for changed in flips(content, every=len(content) // 150):
        path.write_bytes(changed)
        try:
            assert same(read(path), truth)
        except ao.convert.ConversionError:
            refused_ones += 1
    assert refused_ones > 20


def safetensors_file(path: Path, header: Any, body: bytes = b"") -> Path:
    """Write a file with any header, which may be no JSON."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


@pytest.mark.quick
def test_the_checksum_is_asked_for_and_must_fit(tmp_path: Path) -> None:
    path, state = tmp_path / "state.safetensors", ADAM.init(PARAMS)
    ao.convert.save(path, state)
    arrays = safetensors.numpy.load_file(path)
    safetensors.numpy.save_file(arrays, path)
    refused(
        f"{path} has no checksum: it is damaged, or neither", lambda: ao.convert.load(path, state)
    )
    ao.convert.from_named(arrays, state)  # the way out that the message names
    safetensors.numpy.save_file(arrays, path, metadata={"checksum": "0" * 32})
    refused(
        "not a safetensors file (its checksum does not fit)", lambda: ao.convert.load(path, state)
    )


def test_metadata_can_be_anything(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    count = {"count": {"dtype": "I64", "shape": [], "data_offsets": [0, 8]}}
    deep = {"complex": "[" * 100_000}
    anything: list[Any] = [None, {}, deep, {"checksum": "["}, 3, [], {"a": 1}]
    for metadata in anything:
        safetensors_file(path, {"__metadata__": metadata, **count}, bytes(8))
        refused(str(path), lambda: read_named(path))
    safetensors_file(path, b"[" * 100_000)
    refused(f"{path} is damaged", lambda: read_named(path))


HALVES = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
FACTS: dict[str, tuple[dict[str, str], str]] = {
    "twice": ({"complex": '["mu/w", "mu/w"]'}, "names an array twice"),
    "unknown": ({"complex": '["mu/v"]'}, "mu/v"),
    "a number": ({"complex": '["count"]'}, "are no complex numbers"),
    "a dict": ({"complex": '{"mu/w": 1}'}, "has dict for list"),
    "null": ({"complex": "null"}, "has NoneType for list"),
    "deep": ({"complex": "[" * 100_000}, "is damaged"),
    "no names": ({"complex": "[[1]]"}, "is damaged"),
    "objects": ({"dtypes": '{"mu/w": "O"}'}, "is damaged"),
    "another size": ({"dtypes": '{"mu/w": "float64"}'}, "is damaged"),
    "both": ({"complex": '["mu/w"]', "dtypes": '{"mu/w": "float8_e3m4"}'}, "names an array twice"),
    "storage": ({"storage": "pair", "rule": "adam", "parameters": "[" * 100_000}, "is damaged"),
}


@pytest.mark.parametrize("case", FACTS)
def test_metadata_of_a_right_checksum_is_checked_too(tmp_path: Path, case: str) -> None:
    facts, text = FACTS[case]
    path = tmp_path / "state.safetensors"
    write_arrays(path, {"count": np.array(1), "mu/w": HALVES, "nu/w": HALVES}, facts)
    refused(text, lambda: read_named(path))


def test_moments_of_unlike_shapes_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    mixed = {"count": np.array(1), "mu/w": MEAN, "nu/w": BIAS**2}
    text = "mu/w has shape (2, 3), but nu/w (3,); they are of one parameter"
    refused(text, lambda: write_named(path, mixed))
    refused("but nu/w (3,)", lambda: write_named(path, mixed | {"mu/w": np.float32(1)}))
    write_named(path, mixed | {"nu/w": np.float32(1)})  # NovoGrad has one nu for a layer


# --- PyTorch's -----------------------------------------------------------------------------------


def test_a_file_of_pytorch_s_is_read_without_pytorch(tmp_path: Path) -> None:
    x, pairs = np.arange(12, dtype=np.float32).reshape(3, 4), np.array([1, 2, 3, 4], np.float16)
    brain, narrow = np.ones(3, ml_dtypes.bfloat16), np.ones(3, ml_dtypes.float8_e5m2fnuz)
    parameter = Call("torch._utils _rebuild_parameter", x, True, Call("collections OrderedDict"))
    value = {
        "turned": View(x, (4, 3), (1, 4)),
        "part": View(x, (2, 2), (4, 2), offset=5),
        "again": View(np.array([7], np.float32), (2, 2), (0, 0)),
        "complex32": View(pairs, (2,), (1,), dtype="complex32"),
        "conjugate": View(np.array([1 + 2j], np.complex64), (1,), (1,), conj=True),
        "negative": View(np.array([5], np.float32), (1,), (1,), neg=True),
        "parameter": parameter,
        "plain": [None, True, -3, 2**70, 1.5, "é", (1, (2,)), [[]], {}],
        "narrow": [brain, narrow, np.ones((0, 3), np.float32), np.float32(1)],
    }
    found = read_torch(write_torch_file(tmp_path / "run.pt", value))
    wanted = value | {
        "turned": x.T,
        "part": x[1:, 1::2],
        "again": np.full((2, 2), 7, np.float32),
        "complex32": np.array([1 + 2j, 3 + 4j], np.complex64),
        "conjugate": np.array([1 - 2j], np.complex64),
        "negative": np.array([-5], np.float32),
        "parameter": x,
        "narrow": [brain, narrow, np.ones((0, 3), np.float32), np.array(1, np.float32)],
    }
    assert same(found, wanted)


PICKLES: dict[str, tuple[Any, str]] = {
    "code": (Call("os system", "touch owned"), "its pickle calls os.system, and no code"),
    "memory": (Call("__builtin__ bytearray", 2**40), "its pickle calls __builtin__.bytearray"),
    "larger": (View(BIAS, (4,), (1,)), "a tensor of shape (4,) ends outside of its storage"),
    "outside": (View(BIAS, (1,), (1,), offset=3), "ends outside of its storage"),
    "before": (View(BIAS, (1,), (1,), offset=-1), "begins outside"),
    "backwards": (View(BIAS, (2,), (-1,), offset=2), "negative shape"),
    "repeated": (View(BIAS, (30_000, 30_000), (0, 0)), "repeats 3 stored numbers, and is larger"),
    "huge": (View(BIAS, (2**62, 2**62), (0, 0)), "repeats 3 stored numbers"),
    "keys": ({((1, 2), 3): 1}, "a dict has a tuple as a key"),
    "a set": ({1, 2}, "its pickle calls __builtin__.set"),
    "attributes": (Call("torch Tensor", 30_000, 30_000), "its pickle calls torch.Tensor"),
    "metadata": (View(BIAS, (3,), (1,), other=True), "metadata that is not known"),
    "arguments": (Call("torch._utils _rebuild_tensor_v2", 1), "is damaged"),
}


@pytest.mark.quick
@pytest.mark.parametrize("case", PICKLES)
def test_what_pytorch_would_not_write_is_refused(tmp_path: Path, case: str) -> None:
    value, text = PICKLES[case]
    path = write_torch_file(tmp_path / "run.pt", {"state": value, "param_groups": []})
    refused(text, lambda: read_torch(path))
    refused(f"{path} is damaged, or not a PyTorch file", lambda: read_torch(path))


def test_pickles_are_not_followed_into_the_dark(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    for data in (b"", b".", b"\x80\x02", b"0.", b"t.", b"(.", b"N(u.", b"h\x09.", b"]a.", b"NR."):
        path.write_bytes(archive_bytes(data, []))
        refused(f"{path} is damaged, or not a PyTorch file", lambda: read_torch(path))
    path.write_bytes(b"\x80\x02}q\x00.")
    refused("from before PyTorch 1.6 has no checksums: write it anew", lambda: read_torch(path))


def test_what_a_file_stores_twice_or_compressed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    good = torch_bytes(state_dict())
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(good)) as old, zipfile.ZipFile(stream, "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info), zipfile.ZIP_DEFLATED)
    path.write_bytes(stream.getvalue())
    refused("run/data.pkl is compressed in a way", lambda: read_torch(path))
    with zipfile.ZipFile(path, "w") as new:
        new.writestr("run/data.pkl", b"N.")
        with pytest.warns(UserWarning, match="Duplicate name"):
            new.writestr("run/data.pkl", b"].")
    refused("two members have one name", lambda: read_torch(path))


def test_parameters_that_are_named_twice_are_refused() -> None:
    twice = state_dict(named=False, params=[0, 0])
    with pytest.raises(ao.convert.ConversionError, match="name parameter 0 twice"):
        ao.convert.torch_to_named(twice, {"a": "a", "b": "b"}, order=["a", "b"])
    flags = state_dict(named=False, params=[False, True])
    with pytest.raises(ao.convert.ConversionError, match="has 'state' and 'param_groups'"):
        ao.convert.torch_to_named(flags, {"a": "a", "b": "b"}, order=["a", "b"])


# --- Keras's -------------------------------------------------------------------------------------


def packed(path: Path, weights: bytes, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write a `.keras` archive with any weights."""
    with zipfile.ZipFile(path, "w", method, compresslevel=1) as archive:
        archive.writestr("config.json", "{}" * 50)
        archive.writestr("model.weights.h5", weights)
    return path


def weights_file(path: Path, make: Callable[[Any], object]) -> Path:
    """Write a `.weights.h5` file with any variables after the count."""
    with h5py.File(path, "w") as file:
        group = file.create_group("optimizer/vars")
        group["0"] = np.int32(1)
        make(group)
    return path


def test_archives_that_expand_are_refused_before_they_do(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    packed(path, bytes(2**26 + 1))  # more than is always allowed; a hundred times the file is less
    refused("bytes and would expand to far more", lambda: read_keras(path, list(KERAS)))
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\1\2")
    content[entry + 24 : entry + 28] = struct.pack("<I", 100)  # the archive lies about the size
    path.write_bytes(content)
    refused("Bad CRC-32", lambda: read_keras(path, list(KERAS)))
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        packed(path, b"", method)
        refused("model.weights.h5 is compressed in a way", lambda: read_keras(path, list(KERAS)))


def _chunk(group: Any) -> None:
    group.create_dataset("1", (10,), "f4", chunks=(2**28,), maxshape=(None,))


def _thin_chunks(group: Any) -> None:
    group.create_dataset("1", (2**12, 1), "f4", chunks=(1, 2**12), maxshape=(2**12, None))


def _many(group: Any) -> None:
    for i in range(1, 6):  # 33 MiB each, of no bytes in the file
        group.create_dataset(str(i), (33 * 2**18,), "f4")


def _attribute(group: Any) -> None:
    group.create_dataset("1", data=np.zeros(3, "V2"))
    group["1"].attrs.create("dtype", np.zeros(5000, "u1"))


WEIGHTS: dict[str, tuple[Callable[[Any], object], str]] = {
    "a chunk": (_chunk, "would expand to far more, with 1073741824 for variable 1"),
    "thin chunks": (_thin_chunks, "would expand to far more, with 67108864 for variable 1"),
    "a filter": (lambda g: g.create_dataset("1", data=MEAN, compression="lzf"), "not known here"),
    "an attribute": (_attribute, "an attribute that is too large"),
    "nothing": (lambda g: g.__setitem__("1", h5py.Empty("f4")), "is damaged"),
    "a compound": (lambda g: g.create_dataset("1", (2,), [("a", "f4")]), "has dtype"),
    "a cycle": (lambda g: g.__setitem__("1", g.parent), "is not an array in this file"),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights_that_would_fill_the_memory_are_refused(tmp_path: Path, case: str) -> None:
    make, text = WEIGHTS[case]
    path = weights_file(tmp_path / "model.weights.h5", make)
    refused(text, lambda: read_keras(path, list(KERAS)))


@pytest.mark.quick
def test_a_file_has_one_budget_for_all_of_its_arrays(tmp_path: Path) -> None:
    path = weights_file(tmp_path / "model.weights.h5", _many)
    assert path.stat().st_size < 50_000
    text = "would expand to far more, with 34603008 for variable 2"
    refused(text, lambda: read_keras(path, list(KERAS)))


def test_weights_of_bfloat16_and_compressed_ones_are_read(tmp_path: Path) -> None:
    def make(group: Any) -> None:
        for i, x in enumerate(v.value for v in variables()[2:]):
            x = x.astype(ml_dtypes.bfloat16)
            group.create_dataset(str(i + 1), data=x).attrs["dtype"] = "bfloat16"

    path = weights_file(tmp_path / "model.weights.h5", make)
    assert read_keras(path, list(KERAS))[1].value.dtype == ml_dtypes.bfloat16
    values = [v.value * v.value.dtype.type(1) for v in read_keras(path, list(KERAS))]
    write_keras(path, tmp_path / "new.weights.h5", values)
    assert (tmp_path / "new.weights.h5").read_bytes() == path.read_bytes()
    again = packed(tmp_path / "model.keras", path.read_bytes())
    assert same(*([v.value for v in read_keras(p, list(KERAS))] for p in (path, again)))


def test_a_template_whose_arrays_are_in_pieces_is_refused(tmp_path: Path) -> None:
    """HDF5's library would have to write into a file that anyone may have made, and can crash."""

    def make(group: Any) -> None:
        for i, x in enumerate(v.value for v in variables()[2:]):
            group.create_dataset(str(i + 1), data=x, compression="gzip", chunks=x.shape)

    path, out = weights_file(tmp_path / "model.weights.h5", make), tmp_path / "new.weights.h5"
    values = [v.value for v in read_keras(path, list(KERAS))]
    refused("is compressed, in pieces or damaged", lambda: write_keras(path, out, values))
    assert not out.exists()


def test_a_template_whose_arrays_lie_over_others_is_refused(tmp_path: Path) -> None:
    """With this byte changed, an array begins 8 bytes late, and ends in the next one's header."""
    values = [v.value for v in variables()]
    weights = bytearray(weights_bytes(values))
    weights[7258] = 248
    path, out = tmp_path / "model.weights.h5", tmp_path / "new.weights.h5"
    path.write_bytes(weights)
    read_keras(path, list(KERAS))
    refused(f"{path} is damaged", lambda: write_keras(path, out, values))
    assert not out.exists()


@pytest.mark.quick
def test_hdf5_s_library_is_never_asked_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With this byte changed, HDF5's library ended the process when it closed the file."""
    values = [v.value for v in variables()]
    weights, modes, real = bytearray(weights_bytes(values)), list[str](), h5py.File
    weights[7218] = 128
    path, out = tmp_path / "model.weights.h5", tmp_path / "new.weights.h5"
    path.write_bytes(weights)

    def opened(stream: Any, mode: str) -> Any:
        modes.append(mode)
        return real(stream, mode)

    monkeypatch.setattr(h5py, "File", opened)
    doubled = [np.asarray(value * value.dtype.type(2)) for value in values]
    write_keras(path, out, doubled)
    assert same([v.value for v in read_keras(out, list(KERAS))], doubled)
    assert set(modes) == {"r"}


@pytest.mark.parametrize("name", ["model.weights.h5", "config.json"])
def test_damaged_members_are_refused(tmp_path: Path, name: str) -> None:
    good = keras_file(tmp_path / "inner.weights.h5", [v.value for v in variables()])
    path = packed(tmp_path / "model.keras", good.read_bytes())
    content = bytearray(path.read_bytes())
    start = content.index(name.encode()) + len(name)
    content[start + 5 : start + 8] = b"\xff\xff\xff"
    path.write_bytes(content)
    values = [v.value for v in variables()]
    out = tmp_path / "new.keras"
    refused(f"{path} is damaged, or not a .keras file", lambda: write_keras(path, out, values))
    assert not out.exists()


# --- Paths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [read_arrays, read_torch, lambda path: read_keras(path, ["a"])])
def test_what_is_not_a_file_is_refused(tmp_path: Path, read: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "pipe.keras")
    for path, text in [
        (tmp_path / "pipe.keras", "it is a pipe, a socket or a device"),
        (Path("/dev/zero"), "it is a pipe, a socket or a device"),
        (tmp_path, "Is a directory"),
        (tmp_path / ("x" * 300), "File name too long"),
        (Path("a\0b"), "null"),
    ]:
        with pytest.raises(ao.convert.ConversionError, match="cannot read") as raised:
            read(path)
        assert text in str(raised.value)
        assert "\0" not in str(raised.value)
    refused("cannot write a", lambda: ao.convert.save("a\0b", ADAM.init(jnp.ones(1))))
