"""Check that data has the promised form, or that the message names the wrong file."""

import sys
from pathlib import Path

import numpy as np
import pytest

from adam_optax._core.user_code import source_of, user_function
from adam_optax.lab import DataError, LabError, problems
from adam_optax.lab._problems.builtin import find_problem
from adam_optax.lab._problems.mnist import MNIST_FILES
from adam_optax.lab.task import Task
from tests.lab.idx_files import mnist_arrays, write_mnist

BLANK = np.zeros((256, 28, 28), np.uint8)


@pytest.mark.quick
def test_digits_are_whole_and_in_range() -> None:
    data = problems["digits"].load(None)
    assert data.train_x.shape == (1500, 64)
    assert data.test_x.shape == (297, 64)
    x, y = np.concatenate([data.train_x, data.test_x]), np.concatenate([data.train_y, data.test_y])
    assert x.dtype == np.float32
    assert y.dtype == np.int32
    assert (x.min(), x.max()) == (0, 1)
    np.testing.assert_array_equal(
        np.bincount(y), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    )


def test_the_digits_split_is_fixed_and_shuffled() -> None:
    first, second = (problems["digits"].load(None) for _ in range(2))
    np.testing.assert_array_equal(first.train_x, second.train_x)
    # In the order of the file the labels begin 0, 1, 2, ..., 9.
    assert first.train_y[:10].tolist() == [6, 6, 6, 2, 5, 6, 6, 2, 2, 1]


def test_mnist_is_read_plain_and_packed(tmp_path: Path) -> None:
    data, arrays = problems["mnist"].load(write_mnist(tmp_path)), mnist_arrays()
    assert data.train_x.dtype == np.float32
    assert data.train_y.dtype == np.int32
    assert data.test_x.shape == (64, 784)
    images = arrays["train-images-idx3-ubyte"].reshape(256, 784)
    np.testing.assert_allclose(data.train_x * 255, images, rtol=1e-6)
    np.testing.assert_array_equal(data.test_y, arrays["t10k-labels-idx1-ubyte"])


@pytest.mark.parametrize("name", MNIST_FILES)
def test_a_missing_file_is_named_with_the_four(tmp_path: Path, name: str) -> None:
    write_mnist(tmp_path)
    for path in tmp_path.glob(f"{name}*"):
        path.unlink()
    with pytest.raises(DataError, match=f"{name}: no such file.*{', '.join(MNIST_FILES)}"):
        problems["mnist"].load(tmp_path)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        (
            "train_images_idx3_ubyte",
            BLANK[:, :8],
            r"expected uint8 images.*got uint8 \(256, 8, 28\)",
        ),
        ("train_images_idx3_ubyte", BLANK.astype(np.float32), "expected uint8 images.*got float32"),
        ("train_images_idx3_ubyte", BLANK[:0], "expected uint8 images"),
        ("train_images_idx3_ubyte", BLANK[:9], "train-labels.*expected 9 uint8 labels"),
        ("train_labels_idx1_ubyte", BLANK[:, 0], r"expected 256 uint8 labels, got .*\(256, 28\)"),
        ("t10k_labels_idx1_ubyte", np.full(64, 10, np.uint8), "expected labels 0 to 9, got 10"),
    ],
)
def test_files_of_another_data_set_are_refused(
    tmp_path: Path, name: str, array: np.ndarray, message: str
) -> None:
    write_mnist(tmp_path, **{name: array})
    with pytest.raises(DataError, match=message):
        problems["mnist"].load(tmp_path)


def test_the_directory_is_required_where_it_is_used_and_refused_where_not(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="mnist needs a data directory"):
        problems["mnist"].load(None)
    with pytest.raises(DataError, match="leave the data directory out"):
        problems["digits"].load(tmp_path)


def test_an_unknown_problem_lists_the_known() -> None:
    assert find_problem("digits") is problems["digits"]
    with pytest.raises(LabError, match="unknown problem 'cifar'; known: digits, mnist"):
        find_problem("cifar")


OWN = """
import functools, sys
import numpy as np
from adam_optax.lab import MLP, Data, Problem

def load(_):
    x = np.ones((20, 3), np.float32)
    return Data(x, np.zeros(20, np.int32), x, np.zeros(20, np.int32))

def fails(*_): raise OSError("no such thing")
def exits(*_): sys.exit(7)

model = functools.partial(MLP, (2,), 2)
tiny = lambda **changes: Problem(**{**dict(name="tiny", description="", load=load, model=model,
    batch_size=8, epochs=1, target_loss=0.1, learning_rate=1e-2), **changes})
number = lambda: 3
nameless = lambda: tiny(name="")
batches = lambda: tiny(batch_size="8")
rates = lambda: tiny(learning_rate=float("nan"))
unloaded = lambda: tiny(load=fails)
no_data = lambda: tiny(load=lambda _: 3)
ragged = lambda: tiny(load=lambda _: Data(np.ones((3, 2)), np.zeros(2), np.ones((3, 2)), None))
no_model = lambda: tiny(model=fails)
no_loss = lambda: tiny(losses=exits)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with modules of a user's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_problems_of_a_test.py").write_text(OWN)
    (tmp_path / "raises_when_imported.py").write_text("raise RuntimeError('so be it')")
    (tmp_path / "exits_when_imported.py").write_text("raise SystemExit(3)")
    return tmp_path


def test_a_problem_of_the_users_own(own: Path) -> None:
    before = list(sys.path)
    task = Task(find_problem("own_problems_of_a_test:tiny"))
    assert (task.problem.name, task.steps_per_epoch) == ("tiny", 2)
    assert sys.path == before


@pytest.mark.parametrize(
    ("name", "message"),
    {
        "number": "returned no lab.Problem but int",
        "fails": "cannot be made: OSError: no such thing",
        "exits": "cannot be made: SystemExit: 7",
        "gone": "cannot be made: AttributeError: .*no attribute 'gone'",
        "": "cannot be made: expected module:function, such as",
        "nameless": "a problem's name must be a text that is not empty, not ''",
        "batches": "'tiny': batch_size must be an integer from 1, not '8'",
        "rates": "'tiny': learning_rate must be a finite number, not nan",
        "unloaded": "'tiny': its data cannot be loaded: OSError: no such thing",
        "no_data": "'tiny': load returned no lab.Data but int",
        "ragged": r"'tiny': train_x and train_y must have a label for .*, not shapes \(3, 2\) and",
        "no_model": "'tiny': it cannot be trained: OSError: no such thing",
        "no_loss": "'tiny': it cannot be trained: SystemExit: 7",
    }.items(),
)
def test_what_is_wrong_with_a_users_own_is_one_line(own: Path, name: str, message: str) -> None:
    with pytest.raises(LabError, match=f"^[^\n]*{message}[^\n]*$"):
        Task(find_problem(f"own_problems_of_a_test:{name}"))


@pytest.mark.parametrize(
    ("module", "message"),
    {
        "no_such_module_at_all": "ModuleNotFoundError: No module named 'no_such_module_at_all'",
        "raises_when_imported": "RuntimeError: so be it",
        "exits_when_imported": "SystemExit: 3",
        ".relative": "TypeError: ",
        "x" * 5000: "ModuleNotFoundError: ",
        "nul\0": "",
    }.items(),
    ids=range(6),
)
def test_a_module_that_cannot_be_imported_is_one_line(own: Path, module: str, message: str) -> None:
    with pytest.raises(LabError, match=f"cannot be made: {message}[^\n]*$"):
        find_problem(f"{module}:f")


@pytest.mark.quick
@pytest.mark.parametrize("first", [[], [""]], ids=["command", "python -m"])
def test_the_current_directory_hides_no_installed_module(
    own: Path, monkeypatch: pytest.MonkeyPatch, first: list[str]
) -> None:
    """Check the order of the path: the directory came first, and its `tabnanny` was run."""
    path = [*first, *filter(None, sys.path)]
    monkeypatch.setattr(sys, "path", list(path))
    monkeypatch.delitem(sys.modules, "tabnanny", raising=False)
    (own / "tabnanny.py").write_text("raise RuntimeError('run')")
    with user_function("tabnanny:check") as check:
        assert check.__module__ == "tabnanny"
    assert sys.path == path
    place = source_of("tabnanny:check")
    assert place is not None
    assert not place.startswith(str(own))
    assert source_of("raises_when_imported:f") == str(own / "raises_when_imported.py")
    assert source_of("no_such_module_at_all:f") is None
