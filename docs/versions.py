"""Put a built site into its version's folder, and tell every version of the others.

`python -m docs.versions SITE PAGES VERSION BASE`, as `.ci/deploy_site` does for each push to main
and for each tag. Below the folder PAGES, which is what a host of static pages serves, lie

- `0.1.0/` and its like: the site of each release, which stays;
- `stable/`: the newest release once more, under an address that stays;
- `latest/`: the site of the branch `main`;
- `index.html`, which leads to `stable/`, or to `latest/` before there is a release, and `404.html`.

The theme's version switcher reads `_static/switcher.json` in the folder of the version that is
shown. A build writes that file with the one version that it knows; here all get one of all.
"""

import json
import pathlib
import re
import shutil
import sys
from collections.abc import Iterable

LATEST, STABLE = "latest", "stable"
SWITCHER = "_static/switcher.json"
RELEASE = re.compile(r"\d+(?:\.\d+)*")


def entries(names: Iterable[str], base: str) -> list[dict[str, str | bool]]:
    """Return what the switcher offers: `latest`, then releases, newest first.

    Args:
        names: the versions that there are; of others than releases and `latest` nothing is said.
        base: the path, or the whole address, below which their folders are; ends with a slash.
    """
    names = set(names)
    found: list[dict[str, str | bool]] = []
    if LATEST in names:
        found.append({"name": LATEST, "version": LATEST, "url": f"{base}{LATEST}/"})
    releases = sorted(filter(RELEASE.fullmatch, names), key=_key, reverse=True)
    for version in releases[:1]:
        stable = {"name": f"{version} (stable)", "version": version, "url": f"{base}{STABLE}/"}
        found.append({**stable, "preferred": True})
    for version in releases[1:]:
        found.append({"name": version, "version": version, "url": f"{base}{version}/"})
    return found


def write_switcher(site: pathlib.Path, listed: list[dict[str, str | bool]]) -> None:
    """Write the file that the switcher of one built site reads."""
    file = site / SWITCHER
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")


def publish(site: pathlib.Path, pages: pathlib.Path, version: str, base: str) -> None:
    """Put a site in its place among those of other versions.

    Args:
        site: what Sphinx built, with `DOCS_VERSION` set to the version.
        pages: the folder that is served, empty at first.
        version: `latest`, or a release such as `0.1.0`.
        base: the path, or the address, at which `pages` is served; begins and ends with a slash
            if it is a path: `/adam_optax/`.

    Raises:
        ValueError: if the version or the base is written otherwise.
    """
    if version != LATEST and not RELEASE.fullmatch(version):
        raise ValueError(f"VERSION must be {LATEST!r} or a release such as 0.1.0, not {version!r}")
    if not (base.startswith(("/", "https://", "http://")) and base.endswith("/")):
        raise ValueError(f"BASE must begin and end with a slash, as /adam_optax/, not {base!r}")
    _copy(site, pages / version)
    names = {path.name for path in pages.iterdir() if path.is_dir()}
    releases = sorted(filter(RELEASE.fullmatch, names), key=_key)
    if version in releases[-1:]:
        _copy(site, pages / STABLE)
    listed = entries(names, base)
    for each in sorted(names & {LATEST, *releases} | ({STABLE} if releases else set())):
        write_switcher(pages / each, listed)
    home = f"{base}{STABLE if releases else LATEST}/"
    (pages / "index.html").write_text(
        _page(
            f'<meta http-equiv="refresh" content="0; url={home}">'
            f'<p>The documentation is <a href="{home}">here</a>.'
        ),
        encoding="utf-8",
    )
    (pages / "404.html").write_text(
        _page(
            f'<h1>There is no such page</h1><p><a href="{home}">Start</a> or '
            f'<a href="{home}search.html">search</a>: pages of older versions may have moved.'
        ),
        encoding="utf-8",
    )
    (pages / ".nojekyll").touch()  # or folders with an underscore are left out


def _key(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _copy(site: pathlib.Path, to: pathlib.Path) -> None:
    if to.exists():
        shutil.rmtree(to)
    shutil.copytree(site, to, ignore=shutil.ignore_patterns(".doctrees", ".buildinfo*"))


def _page(body: str) -> str:
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head += '<link rel="icon" href="data:,">'  # else a browser asks the host for one
    style = "<style>body{font:1.1em sans-serif;margin:3em;color-scheme:light dark}</style>"
    return f'<!doctype html><html lang="en">{head}<title>adam_optax</title>{style}{body}</html>\n'


if __name__ == "__main__":
    if len(sys.argv) != 5:
        raise SystemExit("usage: python -m docs.versions SITE PAGES VERSION BASE")
    publish(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), *sys.argv[3:])
