"""The built site in a real browser, as wide as a desk's and as a phone's."""

import importlib.util
import pathlib
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

import adam_optax as ao
from docs import versions
from docs._reference import inventory
from tests.docs import conftest, needs

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

pytestmark = pytest.mark.heavy
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--no-sandbox",  # CI is root
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-sync",
    "--no-first-run",
)
WIDTHS = {"desk": (1280, 900), "phone": (390, 844)}
LEFT_OUT = ("genindex", "py-modindex", "search")

OVERFLOW = """() => {
    const width = document.documentElement.clientWidth;
    const scrolls = '.pst-scrollable-table-container, pre, mjx-container, div.math, .output';
    const wide = [...document.querySelectorAll('.bd-article *')].filter(
        (e) => e.getBoundingClientRect().right > width + 1 && !e.closest(scrolls));
    if (document.documentElement.scrollWidth > width) wide.unshift(document.body);
    return wide.slice(0, 3).map((e) => e.outerHTML.slice(0, 90));
}"""
PICTURES = """async () => {
    const pictures = [...document.querySelectorAll('img')];
    for (const picture of pictures) picture.loading = 'eager';
    await Promise.all(pictures.map((picture) => picture.decode().catch(() => null)));
    return pictures.filter((p) => !(p.naturalWidth > 0)).map((p) => p.src);
}"""
FORMULAS = """async () => {
    if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
    const wrong = [...document.querySelectorAll('mjx-merror, [data-mjx-error]')];
    const raw = [...document.querySelectorAll('.math')].filter(
        (e) => !e.querySelector('mjx-container') && e.tagName !== 'MJX-CONTAINER');
    return [...wrong, ...raw].slice(0, 3).map((e) => e.outerHTML.slice(0, 90));
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Start a Chromium that is on this machine, or the one that playwright installed."""
    if importlib.util.find_spec("playwright") is None:
        needs.lack("playwright missing: pip install 'adam-optax[docs]'")
    from playwright import sync_api

    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_api.sync_playwright() as p:
        if found is None and not pathlib.Path(p.chromium.executable_path).exists():
            needs.lack("no Chromium: apt-get install chromium, or python -m playwright install")
        browser = p.chromium.launch(executable_path=found, args=list(QUIET))
        yield browser
        browser.close()


def _pages(site: pathlib.Path) -> list[str]:
    """Return all pages but those of single public names, of which a few are like the others."""
    single = {f"reference/generated/{each.page}" for each in inventory.symbols()}
    like = [f"reference/generated/adam_optax.{n}" for n in ("adamw", "watch", "rules.adopt")]
    built = [p.relative_to(site).with_suffix("").as_posix() for p in site.rglob("*.html")]
    every = {name for name in built if not name.startswith("_")}  # the theme's own files
    return sorted(every - single - set(LEFT_OUT)) + like


def _opened(browser: "Browser", width: str, complaints: list[str], address: str) -> "Page":
    wide, high = WIDTHS[width]
    page = browser.new_context(viewport={"width": wide, "height": high}).new_page()

    def error(said: "ConsoleMessage") -> None:
        if said.type == "error":
            complaints.append(f"{said.text} ({said.location['url']})")

    page.on("console", error)
    page.on("pageerror", lambda error: complaints.append(str(error)))

    def own(url: str) -> None:
        if not url.startswith((address, "data:", "blob:")):
            complaints.append(f"asks another host for {url}")

    page.on("request", lambda request: own(request.url))
    return page


@pytest.mark.parametrize("width", WIDTHS)
def test_pages_fit_and_load(
    browser: "Browser", site: pathlib.Path, address: str, width: str
) -> None:
    found = {}
    complaints: list[str] = []
    page = _opened(browser, width, complaints, address)
    for name in _pages(site):
        complaints.clear()
        page.goto(f"{address}{name}.html", wait_until="load")
        pictures = [f"does not load: {src}" for src in page.evaluate(PICTURES)]
        formulas = [f"is no formula: {text}" for text in page.evaluate(FORMULAS)]
        wide = [f"is too wide: {text}" for text in page.evaluate(OVERFLOW)]
        if bad := [*complaints, *pictures, *formulas, *wide]:
            found[name] = bad
    assert not found


@pytest.mark.parametrize("width", WIDTHS)
def test_search_finds_adamw(browser: "Browser", address: str, width: str) -> None:
    complaints: list[str] = []
    page = _opened(browser, width, complaints, address)
    page.goto(f"{address}search.html?q=adamw")
    page.wait_for_selector("#search-results li a")
    page.wait_for_function("document.querySelectorAll('#search-results li').length > 3")
    first = page.locator("#search-results li a").all_text_contents()[:5]
    assert any("adamw" in title for title in first), first
    page.locator("#search-results li a", has_text="adamw").first.click()
    page.wait_for_selector(".bd-article h1")
    assert not complaints


@pytest.fixture(scope="module")
def published(site: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Publish the site as that of this version and of a later one; return the pages' address."""
    pages = tmp_path_factory.mktemp("pages")
    for version in (ao.__version__, "99.0"):
        versions.publish(site, pages, version, "/")
    with conftest.served(pages) as address:
        yield address


@pytest.mark.parametrize("width", WIDTHS)
def test_versions_lead_to_each_other(browser: "Browser", published: str, width: str) -> None:
    complaints: list[str] = []
    page = _opened(browser, width, complaints, published)
    page.goto(f"{published}{ao.__version__}/learn/adam.html")
    if width == "phone":
        page.locator("button.primary-toggle").first.click()
    button = page.locator("button.version-switcher__button:visible").first
    assert button.text_content().strip().startswith(ao.__version__)
    button.click()
    entries = page.locator(".version-switcher__menu:visible a")
    assert entries.all_text_contents() == ["99.0 (stable)", ao.__version__]
    entries.first.click()
    page.wait_for_url(f"{published}stable/learn/adam.html")
    page.goto(f"{published}{ao.__version__}/learn/adam.html")
    page.wait_for_selector("#bd-header-version-warning a.pst-button-link-to-stable-version")
    assert f"an old version ({ao.__version__})" in page.inner_text("#bd-header-version-warning")
    assert not page.evaluate(OVERFLOW)
    page.goto(published)
    page.wait_for_url(f"{published}stable/")
    assert not complaints


def test_the_dark_mode_is_dark(browser: "Browser", address: str) -> None:
    page = _opened(browser, "desk", [], address)
    page.goto(f"{address}index.html")
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.locator("button.theme-switch-button:visible").first.click()
    page.locator("button.theme-change-button[data-mode=dark]:visible").first.click()
    page.wait_for_timeout(500)  # the colour fades
    dark = page.evaluate(background)
    assert sum(map(int, dark[4:-1].split(","))) < 200 < sum(map(int, light[4:-1].split(",")))


def test_what_is_wrong_is_seen(browser: "Browser", tmp_path: pathlib.Path) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.set_content(
        "<div class='bd-article'><p style='width: 900px'>wide</p><img src='data:image/png;base64,'>"
        "<span class='math'>\\\\(x\\\\)</span></div>"
    )
    assert page.evaluate(OVERFLOW)
    assert page.evaluate(PICTURES)
    assert page.evaluate(FORMULAS)
