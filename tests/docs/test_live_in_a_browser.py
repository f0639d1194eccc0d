"""The page `learn/live` in a real browser: its arithmetic is the library's.

All of it is used without a mouse, on a phone, in the dark, and without motion.
"""

import urllib.parse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax
import pytest

from tests.docs import live, test_in_a_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.heavy
browser = test_in_a_browser.browser
WIDTHS = {"desk": 1280, "phone": 360}
SET = """([name, place]) => {
    const input = document.querySelector(`#live-${name}`);
    if (input.type === 'checkbox') input.checked = place;
    else input.value = place;
    input.dispatchEvent(new Event(input.type === 'checkbox' ? 'change' : 'input'));
}"""
NOW = "() => Number(document.querySelector('#live-now').value)"
SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "at first": ({}, {"b1": 0.9, "b2": 0.999, "eps": 1e-8}),
    "far": (
        {"b1": 0, "b2": 4, "eps": -1, "noise": 0.5, "correctRMSProp": True},
        {"b1": 0, "b2": 0.9999, "eps": 0.1, "noise": 0.5},
    ),
    "uncorrected": (
        {"b1": 3, "b2": 0, "eps": -10, "noise": 5, "correctAdam": False},
        {"b1": 0.999, "b2": 0, "eps": 1e-10, "noise": 5, "correctAdam": False},
    ),
}
"""Places of sliders, and what the page then has."""
SURFACES = ("valley", "saddle", "slope")


@pytest.fixture(autouse=True)
def as_readers_have_it(x64: None) -> Iterator[None]:
    """Allow the page's code what JAX allows by default; compare in float64."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def _opened(
    browser: "Browser",
    address: str,
    width: str = "desk",
    hash: str = "",
    edit: tuple[str, str, str] | None = None,
    **options: Any,
) -> tuple["Page", list[str]]:
    """Open the page, and return it with a list of what goes wrong there."""
    options = {"reduced_motion": "reduce", "has_touch": width == "phone", **options}
    context = browser.new_context(viewport={"width": WIDTHS[width], "height": 800}, **options)
    page, complaints = context.new_page(), list[str]()
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda r: None if r.url.startswith((address, "data:")) else complaints.append(r.url),
    )
    if edit is not None:
        file, right, wrong = edit
        text = (live.FOLDER / file).read_text(encoding="utf-8")
        assert text.count(right) == 1

        def faulty(route: "Route") -> None:
            route.fulfill(body=text.replace(right, wrong), content_type="text/javascript")

        page.route(f"**/live/{file}", faulty)
    page.goto(f"{address}learn/live.html{hash}", wait_until="load")
    if options.get("java_script_enabled", True):
        page.wait_for_selector("#live:not([hidden])")
    return page, complaints


def _read(page: "Page") -> dict[str, Any]:
    drawn: dict[str, Any] = page.evaluate(live.READ)
    return drawn


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("case", SETTINGS)
def test_the_arithmetic_is_the_librarys(
    browser: "Browser", address: str, surface: str, case: str
) -> None:
    page, complaints = _opened(browser, address)
    page.locator(".live-surfaces label").nth(SURFACES.index(surface)).click()
    places, values = SETTINGS[case]
    for name, place in places.items():
        page.evaluate(SET, [name, place])
    drawn = _read(page)
    assert drawn["settings"] | values == drawn["settings"]
    assert drawn["settings"]["surface"] == surface
    assert len(drawn["noise"]) == 300
    assert tuple(drawn["walks"]) == live.NAMES
    assert not [*live.differences(drawn)]
    assert not complaints


FAULTS = {
    "correction left out": ("optimizers.js", "wanted ? 1 / oneMinusPower(b, t) : 1", "1"),
    "a correction that cancels": ("optimizers.js", "-Math.expm1(t * Math.log(b))", "1 - b ** t"),
    "AdaGrad from nothing": ("optimizers.js", "start: { nu: 0.1 }", "start: { nu: 0 }"),
    "eps beside RMSProp's root": (
        "optimizers.js",
        "Math.sqrt(nu * nuFactor + eps) };\n    },\n  },\n\n  Adam",
        "(Math.sqrt(nu * nuFactor) + eps) };\n    },\n  },\n\n  Adam",
    ),
    "momentum is a mean": ("optimizers.js", "b1 * mu + g;", "b1 * mu + (1 - b1) * g;"),
    "another saddle": ("surfaces.js", "-y + y ** 3 / 4", "-y + y ** 3 / 5"),
    "one noise for both weights": ("walk.js", "noise[t - 1][i]", "noise[t - 1][0]"),
    "steps are counted from 0": ("walk.js", "g[i], t, settings", "g[i], t + 1, settings"),
}


WHERE = "#surface=saddle&noise=0.5&b2=0.999999"


def test_without_a_fault_there_is_no_difference(browser: "Browser", address: str) -> None:
    page, _ = _opened(browser, address, "desk", WHERE)
    assert not [*live.differences(_read(page))]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_arithmetic_is_seen(browser: "Browser", address: str, fault: str) -> None:
    page, _ = _opened(browser, address, "desk", WHERE, FAULTS[fault])
    assert [*live.differences(_read(page))]


def test_the_page_begins_as_its_code_does(browser: "Browser", address: str) -> None:
    page, _ = _opened(browser, address)
    for surface in SURFACES:
        page.locator(".live-surfaces label").nth(SURFACES.index(surface)).click()
        settings = _read(page)["settings"]
        assert tuple(settings["start"]) == live.example()["STARTS"][surface]
        assert {name: settings[name] for name in live.NAMES} == live.example()["RATES"]
    calls = page.inner_text(".live-calls").splitlines()
    assert calls[-1] == "ao.adam(0.2, b1=0.9, b2=0.999, eps=1e-08)"
    assert calls[1] == "ao.sgd(0.02, momentum=0.9)"


def test_each_thing_to_try_is_one_click(browser: "Browser", address: str) -> None:
    page, complaints = _opened(browser, address)
    links = page.locator('.bd-article a[href^="#"][href*="="]')
    assert links.count() == 7
    for i in range(links.count()):
        wanted = urllib.parse.parse_qsl((links.nth(i).get_attribute("href") or "")[1:])
        links.nth(i).click()
        page.wait_for_function("location.hash.length > 1")
        page.wait_for_timeout(50)
        found = page.evaluate("() => adamLive.settings")
        for key, text in wanted:
            as_text = isinstance(found[key], bool | str)
            assert (str(found[key]).lower() == text) if as_text else found[key] == float(text)
    assert not complaints


def test_by_keyboard(browser: "Browser", address: str) -> None:
    page, complaints = _opened(browser, address)

    def tab_to(selector: str) -> None:
        for _ in range(40):
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"Tab does not lead to {selector}")

    line = "() => document.querySelector('[data-name=Adam] .live-line').getAttribute('d')"
    page.focus("#live input[type=radio]:checked")
    tab_to("#live-b2")
    before = page.evaluate(line)
    page.keyboard.press("ArrowLeft")
    shown = page.inner_text("output[for=live-b2]")
    assert shown == str(page.evaluate("() => adamLive.settings.b2")) == "0.99888"
    assert page.get_attribute("#live-b2", "aria-valuetext") == shown
    assert page.evaluate(line) != before
    assert "b2=" in page.evaluate("location.hash")

    page.focus("#live-focus")
    tab_to(".live-start")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Shift+ArrowLeft")
    assert page.get_attribute(".live-start", "aria-valuetext") == "x -5.01, y 2.6"
    page.keyboard.press("Home")
    assert page.evaluate("() => adamLive.settings.start") == [-5.01, 0]

    assert page.evaluate(NOW) == 300
    page.keyboard.press("r")
    assert page.evaluate(NOW) == 0
    page.keyboard.press("n")
    page.keyboard.press("n")
    page.keyboard.press("b")
    assert page.evaluate(NOW) == 1
    assert page.inner_text("#live [role=status]") == "Step 1 of 300"
    page.keyboard.press("p")
    page.wait_for_function(f"({NOW})() > 3")
    page.keyboard.press("p")
    stopped = page.evaluate(NOW)
    page.wait_for_timeout(200)  # four steps' time
    assert page.evaluate(NOW) == stopped
    tab_to("button[data-do=defaults]")
    page.keyboard.press("Enter")
    assert page.evaluate("() => adamLive.settings.start") == [-5, 2.5]
    assert page.evaluate("location.hash") == ""
    assert not complaints


@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_and_follows_a_finger(browser: "Browser", address: str, width: str) -> None:
    page, complaints = _opened(browser, address, width)
    for surface in range(3):
        page.locator(".live-surfaces label").nth(surface).click()
        assert not page.evaluate(test_in_a_browser.OVERFLOW)
    box = page.locator(".live-map").bounding_box()
    assert box is not None
    place = box["x"] + 0.75 * box["width"], box["y"] + 0.25 * box["height"]
    if width == "phone":
        page.touchscreen.tap(*place)
    else:
        start = page.locator(".live-start").bounding_box()
        assert start is not None
        page.mouse.move(start["x"] + start["width"] / 2, start["y"] + start["height"] / 2)
        page.mouse.down()
        page.mouse.move(*place, steps=4)
        page.mouse.up()
    # A pixel of the phone's picture is 0.04.
    assert page.evaluate("() => adamLive.settings.start") == pytest.approx([3, 1.6875], abs=0.05)
    if width == "phone":
        buttons = page.locator("#live button").all()
        assert all((b.bounding_box() or {"height": 0})["height"] >= 36 for b in buttons)
        page.locator("#live-b2").scroll_into_view_if_needed()
        shown = page.locator(".live-picture").bounding_box()  # stays in sight above the sliders
        assert shown is not None
        assert 0 <= shown["y"] < 400
    assert not complaints


def test_motion_begins_by_itself_only_where_it_may(browser: "Browser", address: str) -> None:
    calm, _ = _opened(browser, address)
    lively, _ = _opened(browser, address, reduced_motion="no-preference")
    lively.wait_for_function(f"({NOW})() > 3 && ({NOW})() < 300")
    assert lively.inner_text("[data-do=play]") == "Pause"
    assert calm.evaluate(NOW) == 300
    assert calm.inner_text("[data-do=play]") == "Play"


def test_it_is_dark_where_the_site_is(browser: "Browser", address: str) -> None:
    page, _ = _opened(browser, address)
    colour = "([s, p]) => getComputedStyle(document.querySelector(s))[p]"
    wanted = [
        ["[data-do=play]", "backgroundColor"],
        [".live-minimum", "stroke"],
        ["#live", "color"],
    ]
    light = [page.evaluate(colour, each) for each in wanted]
    page.evaluate("() => { document.documentElement.dataset.theme = 'dark' }")
    page.wait_for_timeout(100)  # the colours begin to fade
    page.wait_for_function("() => document.getAnimations().length === 0")
    dark = [page.evaluate(colour, each) for each in wanted]
    brightness = [[sum(map(int, c[4:-1].split(","))) for c in each] for each in (light, dark)]
    assert brightness[1][0] < 250 < brightness[0][0]
    assert brightness[0][1] < 250 < brightness[1][1]
    assert brightness[0][2] < 250 < brightness[1][2]


def test_without_scripts_there_is_a_picture(browser: "Browser", address: str) -> None:
    page, complaints = _opened(browser, address, java_script_enabled=False)
    assert page.is_visible(".live-without")
    picture = page.locator(".live-without img")
    assert picture.evaluate("(p) => p.naturalWidth") > 0
    assert not page.is_visible("#live")
    scripted, _ = _opened(browser, address)
    assert not scripted.locator(".live-without").count()
    assert not complaints
