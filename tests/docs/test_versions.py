"""Sites of several versions lie beside each other, and each tells of all others."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest

from docs import versions
from tests.docs import markdown

DEPLOY = markdown.ROOT / ".ci" / "deploy_site"


@pytest.fixture
def built(tmp_path: pathlib.Path) -> pathlib.Path:
    """Return a folder like that of a built site."""
    site = tmp_path / "html"
    (site / ".doctrees").mkdir(parents=True)
    (site / ".doctrees" / "index.doctree").touch()
    (site / "index.html").write_text("first")
    versions.write_switcher(site, [])
    return site


def _switcher(folder: pathlib.Path) -> list[tuple[str, str]]:
    read = json.loads((folder / versions.SWITCHER).read_text())
    assert [each["version"] for each in read if each.get("preferred")] in ([], ["0.10.0"])
    return [(each["name"], each["url"]) for each in read]


@pytest.mark.quick
def test_the_newest_release_is_stable_and_all_know_all(
    built: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    versions.publish(built, pages, "latest", "/project/")
    assert "url=/project/latest/" in (pages / "index.html").read_text()
    assert _switcher(pages / "latest") == [("latest", "/project/latest/")]

    versions.publish(built, pages, "0.10.0", "/project/")
    (built / "index.html").write_text("mended")
    versions.publish(built, pages, "0.9.1", "/project/")
    listed = [
        ("latest", "/project/latest/"),
        ("0.10.0 (stable)", "/project/stable/"),
        ("0.9.1", "/project/0.9.1/"),
    ]
    for name in ("latest", "stable", "0.9.1", "0.10.0"):
        assert _switcher(pages / name) == listed
        text = (pages / name / "index.html").read_text()
        assert text == ("mended" if name == "0.9.1" else "first")
    assert "url=/project/stable/" in (pages / "index.html").read_text()
    assert '<a href="/project/stable/search.html">' in (pages / "404.html").read_text()
    assert (pages / ".nojekyll").exists()
    assert not [*pages.rglob("*.doctree")]

    (built / "index.html").write_text("the branch, later")
    (pages / "latest" / "gone.html").touch()
    versions.publish(built, pages, "latest", "/project/")
    assert (pages / "latest" / "index.html").read_text() == "the branch, later"
    assert not (pages / "latest" / "gone.html").exists()
    assert _switcher(pages / "0.10.0") == listed


@pytest.mark.quick
@pytest.mark.parametrize(
    ("version", "base", "message"),
    [
        ("v0.1.0", "/", "VERSION must be 'latest' or a release such as 0.1.0, not 'v0.1.0'"),
        ("../0.1.0", "/", "not '../0.1.0'"),
        ("stable", "/", "not 'stable'"),
        ("0.1.0", "/project", "BASE must begin and end with a slash, as /adam_optax/, not '/proj"),
        ("0.1.0", "project/", "not 'project/'"),
    ],
)
def test_what_is_no_version_or_base_is_refused(
    version: str, base: str, message: str, built: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(ValueError, match=message):
        versions.publish(built, tmp_path, version, base)
    assert [*tmp_path.iterdir()] == [built]


def _git(folder: pathlib.Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def test_sites_are_deployed_one_after_another(built: pathlib.Path, tmp_path: pathlib.Path) -> None:
    if not DEPLOY.exists() or shutil.which("git") is None:
        pytest.skip("no git, or a copy of the tests without .ci")
    remote, clone = tmp_path / "remote", tmp_path / "clone"
    _git(tmp_path, "init", "-q", "--bare", str(remote))
    (clone / ".ci").mkdir(parents=True)
    shutil.copy(DEPLOY, clone / ".ci")
    (clone / "docs").mkdir()
    shutil.copy(versions.__file__, clone / "docs")
    _git(clone, "init", "-q")
    _git(clone, "add", ".")
    _git(clone, "commit", "-q", "-m", "source")
    _git(clone, "remote", "add", "origin", str(remote))
    for version in ("latest", "0.1.0"):
        command = [clone / ".ci" / "deploy_site", built, version, "/project/"]
        environment = {**os.environ, "PYTHONPATH": ""}
        subprocess.run(command, check=True, env=environment, capture_output=True)
    files = _git(remote, "ls-tree", "-r", "--name-only", "gh-pages").splitlines()
    assert {"index.html", "latest/index.html", "0.1.0/index.html", "stable/index.html"} <= {*files}
    assert not [name for name in files if name.startswith(("docs/", ".ci/"))]
    assert len(_git(remote, "log", "--format=%h", "gh-pages").splitlines()) == 2
    listed = json.loads(_git(remote, "show", f"gh-pages:latest/{versions.SWITCHER}"))
    assert [each["version"] for each in listed] == ["latest", "0.1.0"]
    assert _git(clone, "worktree", "list").count("\n") == 1
