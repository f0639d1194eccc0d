"""Check that the workflows and forms of a public host are sound and name what exists."""

import pathlib
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
EACH = pytest.mark.parametrize("path", WORKFLOWS, ids=[path.stem for path in WORKFLOWS])
MAY_WRITE = {"release/publish": {"id-token": "write"}, "docs/deploy": {"contents": "write"}}
"""What a job may do beyond reading: to ask PyPI for a password, to push the branch of the site."""

pytestmark = pytest.mark.quick


def _read(path: pathlib.Path) -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load(path.read_text())
    return parsed


def _steps(path: pathlib.Path, key: str) -> Iterator[str]:
    for job in _read(path)["jobs"].values():
        yield from (step[key] for step in job["steps"] if key in step)


def test_there_are_workflows() -> None:
    assert [path.stem for path in WORKFLOWS] == ["docs", "release", "tests"]


@EACH
def test_a_workflow_may_do_no_more_than_it_must(path: pathlib.Path) -> None:
    workflow = _read(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert "group" in workflow["concurrency"]
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 120
        assert job.get("permissions") == MAY_WRITE.get(f"{path.stem}/{name}")


@EACH
def test_actions_are_pinned(path: pathlib.Path) -> None:
    for action in _steps(path, "uses"):
        assert re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v\d+|[0-9a-f]{40})", action), action


@EACH
def test_commands_name_files_and_extras_that_exist(path: pathlib.Path) -> None:
    commands = "\n".join(_steps(path, "run"))
    for name in re.findall(r"(?<![\w/])(?:\.ci|tests)/[\w/.]+", commands):
        assert (ROOT / name).exists(), name
    for extras in re.findall(r"(?:\.|\))\[([\w,]+)\]", commands):
        assert {*extras.split(",")} <= PROJECT["optional-dependencies"].keys()


def test_the_core_needs_four_packages_and_the_rest_are_extras() -> None:
    needs = [re.split(r"[^\w-]", need)[0] for need in PROJECT["dependencies"]]
    assert needs == ["jax", "optax", "flax", "chex"]


def test_every_python_that_is_claimed_is_tested() -> None:
    claimed = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if "Python :: 3." in c]
    matrix = _read(ROOT / ".github/workflows/tests.yml")["jobs"]["tests"]["strategy"]["matrix"]
    assert matrix["python"] == claimed
    assert PROJECT["requires-python"] == f">={claimed[0]}"


def test_the_form_for_bugs_asks_for_what_is_needed() -> None:
    form = _read(ROOT / ".github/ISSUE_TEMPLATE/bug.yml")
    assert form.keys() >= {"name", "description", "body"}
    needed = {x["id"] for x in form["body"] if x.get("validations", {}).get("required")}
    assert needed == {"happened", "code", "memory", "versions"}
