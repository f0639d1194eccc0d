"""Check that every version that is told is the one in pyproject.toml."""

import importlib
import importlib.metadata
import pathlib
import pkgutil
import tomllib
from typing import Any, NoReturn

import pytest
import yaml

import adam_optax as ao
from adam_optax.cli import main

ROOT = pathlib.Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.quick
def test_the_package_reads_its_version_from_the_metadata() -> None:
    if ao.__version__ == "0+unknown":
        pytest.skip("adam-optax is not installed here: there is no metadata to read")
    assert ao.__version__ == importlib.metadata.version("adam-optax")
    hint = "the installed metadata are those of another version: pip install -e ."
    assert ao.__version__ == PROJECT["version"], hint


def test_a_source_tree_that_is_not_installed_has_an_unknown_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def find_nothing(name: str) -> NoReturn:
        raise importlib.metadata.PackageNotFoundError(name)

    with monkeypatch.context() as patch:
        patch.setattr(importlib.metadata, "version", find_nothing)
        assert importlib.reload(ao).__version__ == "0+unknown"
    importlib.reload(ao)


def test_the_command_prints_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(pkgutil.resolve_name(PROJECT["scripts"]["adam-optax"]))
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out.split()[-1] == ao.__version__


@pytest.mark.quick
def test_the_citation_file_is_valid_and_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation.keys() >= {
        "cff-version",
        "message",
        "title",
        "authors",
    }  # the schema's required
    assert citation["cff-version"] == "1.2.0"
    assert citation["authors"] == [{"name": "The adam_optax developers"}]
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
