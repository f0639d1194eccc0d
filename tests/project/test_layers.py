"""Hold the imports of the package to one direction: from what users call down to arithmetic."""

import ast
import pathlib
from collections.abc import Iterator

import pytest

import adam_optax

ROOT = pathlib.Path(adam_optax.__file__).parent
LAYERS: tuple[tuple[str, ...], ...] = (
    ("_core",),
    ("moments", "schedules"),
    ("directions", "couplings"),
    ("rules",),
    ("storage",),
    ("_engine",),
    ("_optax_interop",),
    ("_transform", "_step"),
    ("_alias",),
    (
        *("_wrappers", "precision", "rows", "release", "_watch"),
        *("convert", "conventions", "adapters"),
    ),
    ("__init__",),
    ("aot",),
    ("lab",),
    ("cli",),
)
"""From the lowest; what shares a layer does not import one another."""
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def part(module: str) -> str:
    """Return the part of the package that a module belongs to."""
    return [*module.split("."), "__init__"][1]


def imports(path: pathlib.Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the module of every import from this package, lazy ones too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "adam_optax":
            names = [f"adam_optax.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names = [node.module]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "adam_optax":
                known = name if part(name) in LEVEL else "adam_optax"  # a function of the top level
                yield node.lineno, known


def climbs(path: pathlib.Path, root: pathlib.Path) -> list[str]:
    """Return the imports of a file that do not go down."""
    here = path.relative_to(root).parts[0].removesuffix(".py")
    return [
        f"{path.relative_to(root)}:{line} imports {name}"
        for line, name in imports(path)
        if part(name) != here and LEVEL[part(name)] >= LEVEL[here]
    ]


def test_every_module_has_a_layer() -> None:
    parts = {p.relative_to(ROOT).parts[0].removesuffix(".py") for p in ROOT.rglob("*.py")}
    assert parts == LEVEL.keys()


@pytest.mark.quick
def test_imports_go_down() -> None:
    found = [climb for path in sorted(ROOT.rglob("*.py")) for climb in climbs(path, ROOT)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("_core/new.py", "from adam_optax.moments import ema"),
        ("storage/new.py", "def late():\n    from adam_optax._engine import tree"),
        ("rows/new.py", "from adam_optax import precision"),
        ("aot/new.py", "import adam_optax.lab.train"),
        ("_alias/new.py", "import adam_optax as ao"),
    ],
)
def test_an_import_that_climbs_is_seen(tmp_path: pathlib.Path, file: str, text: str) -> None:
    path = tmp_path / file
    path.parent.mkdir()
    path.write_text(text)
    assert climbs(path, tmp_path)
