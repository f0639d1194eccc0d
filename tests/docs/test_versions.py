"""Sites of several versions lie beside each other, and each tells of all others."""

import json
import pathlib

import pytest

from docs import versions

pytestmark = pytest.mark.quick


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
