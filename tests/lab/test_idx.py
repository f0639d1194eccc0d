"""Check that the IDX reader returns the array that was written, or says what is wrong."""

import gzip
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from adam_optax.lab import DataError, read_idx
from tests.lab.idx_files import CODES, encode
from tests.support.budgets import memory_below

SMALL = np.arange(6, dtype=np.uint8).reshape(2, 3)
MEGABYTE = 1 << 20
in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
packed_or_plain = pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])


def written(folder: Path, content: bytes) -> Path:
    path = folder / "file-idx"
    path.write_bytes(content)
    return path


@pytest.mark.quick
@in_one_folder
@given(data=st.data(), packed=st.booleans())
def test_what_is_written_is_read(tmp_path: Path, data: st.DataObject, packed: bool) -> None:
    dtype = np.dtype(data.draw(st.sampled_from(sorted(CODES))))
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4))
    array = data.draw(hnp.arrays(dtype, shape))
    read = read_idx(written(tmp_path, encode(array, packed)))
    assert read.dtype == dtype
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, array)


@packed_or_plain
def test_every_truncation_is_refused(tmp_path: Path, packed: bool) -> None:
    content = encode(SMALL, packed)
    for size in range(len(content)):
        with pytest.raises(DataError, match="file-idx"):
            read_idx(written(tmp_path, content[:size]))


@pytest.mark.parametrize("extra", [b"\0", b"\x1f\x8b", bytes(4096)])
@packed_or_plain
def test_bytes_after_the_elements_are_refused(tmp_path: Path, extra: bytes, packed: bool) -> None:
    content = encode(SMALL) + extra
    path = written(tmp_path, gzip.compress(content) if packed else content)
    with pytest.raises(DataError, match=r"bytes follow the declared \(2, 3\)"):
        read_idx(path)


@pytest.mark.heavy
def test_every_change_of_a_header_byte_is_refused(tmp_path: Path) -> None:
    content = encode(SMALL)
    signed = 2, CODES["i1"]  # the one change that leaves a valid file
    changes = [(i, b) for i in range(12) for b in range(256) if b != content[i]]
    for place, byte in changes:
        if (place, byte) != signed:
            path = written(tmp_path, content[:place] + bytes([byte]) + content[place + 1 :])
            with pytest.raises(DataError):
                read_idx(path)


def test_every_flipped_byte_in_gzip_is_refused_or_harmless(tmp_path: Path) -> None:
    content = encode(SMALL, packed=True)
    refused = 0
    for place in range(len(content)):
        flipped = bytes([content[place] ^ 0xFF])
        path = written(tmp_path, content[:place] + flipped + content[place + 1 :])
        try:
            np.testing.assert_array_equal(read_idx(path), SMALL)
        except DataError:
            refused += 1
    # Harmless are the time, the compression level and the system in gzip's header.
    assert refused == len(content) - 6


@in_one_folder
@given(content=st.binary(max_size=64))
@example(content=b"\x1f\x8b")
@example(content=b"\x1f\x8b\x08\x04\0\0\0\0\0\0\xff\xff")
def test_any_bytes_give_an_array_or_a_data_error(tmp_path: Path, content: bytes) -> None:
    for prefix in (b"", b"\0\0\x08\x01", b"\x1f\x8b\x08\x00"):
        path = written(tmp_path, prefix + content)
        with suppress(DataError):
            assert isinstance(read_idx(path), np.ndarray)


@packed_or_plain
@pytest.mark.parametrize("shape", [(1 << 28,), (2**32 - 1,) * 3, (0x10000, 0x10000)])
def test_a_lying_header_allocates_nothing(
    tmp_path: Path, shape: tuple[int, ...], packed: bool
) -> None:
    content = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + b"four"
    path = written(tmp_path, gzip.compress(content) if packed else content)
    with memory_below(4 * MEGABYTE), pytest.raises(DataError, match=r"truncated|above the limit"):
        read_idx(path)


@pytest.mark.parametrize("shape", [(0, 2**32 - 1, 2**32 - 1), (2**32 - 1, 0) * 4])
def test_an_empty_array_of_a_shape_that_no_array_has_is_refused(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    path = written(tmp_path, struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape))
    with pytest.raises(DataError, match=r"declares \(.*, above the limit of"):
        read_idx(path)


def test_a_gzip_bomb_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress(encode(SMALL) + bytes(64 * MEGABYTE)))
    with memory_below(4 * MEGABYTE), pytest.raises(DataError, match="bytes follow"):
        read_idx(path)


def test_the_limit_is_the_callers(tmp_path: Path) -> None:
    path = written(tmp_path, encode(SMALL))
    assert read_idx(path, max_bytes=6).shape == (2, 3)
    with pytest.raises(DataError, match=r"declares \(2, 3\), 6 bytes, above the limit of 5"):
        read_idx(path, max_bytes=5)


@pytest.mark.parametrize("name", ["missing", "."])
def test_what_cannot_be_opened_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"cannot be read \((No such file|Is a directory)"):
        read_idx(tmp_path / name)


def test_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "file.npy"
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="magic number 934e554d"):
        read_idx(path)
