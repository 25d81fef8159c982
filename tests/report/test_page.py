"""The page as a reader gets it: opened in headless Chromium."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from example_results import example_results

from harness.report import write_report

AXE = "axe-core@4.14.1"
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)

pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="needs Debian's packages chromium and chromium-driver"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER or ""
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(executable_path=DRIVER))
    try:
        files = write_report(example_results(tmp_path_factory.mktemp("results")))
        driver.get(files.page.resolve().as_uri())
        yield driver
    finally:
        driver.quit()


def column(browser: Any, section: str, heading: str) -> list[str]:
    """The first line of each cell under a heading, from top to bottom."""
    return list(
        browser.execute_script(
            """
            const table = document.querySelector(`#${arguments[0]} table`);
            const at = [...table.tHead.rows[0].cells].findIndex(
              (cell) => cell.innerText.trim() === arguments[1]);
            return [...table.tBodies[0].rows].map((row) => row.cells[at].firstChild.textContent);
            """,
            section,
            heading,
        )
    )


def click(browser: Any, section: str, heading: str) -> None:
    from selenium.webdriver.common.by import By

    path = f"//section[@id='{section}']//th[normalize-space()='{heading}']/button"
    button = browser.find_element(By.XPATH, path)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
    button.click()


def numbers(texts: list[str]) -> list[float]:
    return [float(text.replace(",", "")) for text in texts if text != "–"]


@pytest.mark.slow
def test_page_logs_nothing_and_requests_nothing(browser: Any) -> None:
    assert browser.get_log("browser") == []
    asked = [
        entry["message"]
        for entry in browser.get_log("performance")
        if '"Network.requestWillBeSent"' in entry["message"]
    ]
    assert any('"url":"file://' in message for message in asked), "the page itself is seen"
    assert not [message for message in asked if '"url":"http' in message]


def test_every_plot_is_visible(browser: Any) -> None:
    pictures = browser.execute_script(
        """
        return [...document.querySelectorAll("figure svg")].map((picture) => {
          const box = picture.getBoundingClientRect();
          const outside = [...picture.querySelectorAll("text")].filter((text) => {
            const own = text.getBoundingClientRect();
            return own.left < box.left - 1 || own.right > box.right + 1
              || own.top < box.top - 1 || own.bottom > box.bottom + 1;
          });
          const cut = outside.map((text) => text.textContent);
          return [box.width, box.height, picture.ariaLabel, cut];
        });
        """
    )
    assert len(pictures) == 12
    for width, height, label, outside in pictures:
        assert width > 300 and height > 50, label
        assert outside == [], f"texts outside their picture: {label}"
    assert len({label for _, _, label, _ in pictures}) == 12, "each has a text of its own"
    named = "return [...document.querySelectorAll('[id]')].map((one) => one.id)"
    ids = browser.execute_script(named)
    assert len(ids) == len(set(ids)), "pictures do not share names of their parts"


def test_no_table_is_cut_at_1400_pixels(browser: Any) -> None:
    browser.set_window_size(1400, 900)
    cut = """
        return [...document.querySelectorAll(".scroll")]
          .filter((table) => table.scrollWidth > table.clientWidth).map((table) => table.ariaLabel);
        """
    assert browser.execute_script(cut) == []
    browser.set_window_size(1280, 900)


def test_page_is_not_wider_than_the_window(browser: Any) -> None:
    width = "return [document.documentElement.scrollWidth, window.innerWidth]"
    for window in (1400, 1280, 480):
        browser.set_window_size(window, 900)
        scrolled, inner = browser.execute_script(width)
        assert scrolled <= inner
    browser.set_window_size(1280, 900)


def test_no_table_is_cut_on_paper(browser: Any) -> None:
    """A4, landscape, without margins of 12 mm: 1031 pixels."""
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    browser.set_window_size(1031, 900)
    cut = """
        return [...document.querySelectorAll(".scroll")].filter((one) =>
          one.querySelector("table").offsetWidth > one.clientWidth).map((one) => one.ariaLabel);
        """
    found = browser.execute_script(cut)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    browser.set_window_size(1280, 900)
    assert found == []


def test_heading_sorts_numbers_both_ways_when_clicked(browser: Any) -> None:
    section, heading = "results-measured", "Latency, ms"
    before = column(browser, section, heading)
    click(browser, section, heading)
    upwards = column(browser, section, heading)
    click(browser, section, heading)
    downwards = column(browser, section, heading)
    assert numbers(upwards) == sorted(numbers(before))
    assert numbers(downwards) == sorted(numbers(before), reverse=True)
    # As text, 3.77 would come before 0.2 or after 9.1 in one of the two.
    assert sorted(before) == sorted(upwards) == sorted(downwards)
    assert upwards[-2:] == downwards[-2:] == ["–", "–"], "what is missing stays last"


def test_heading_sorts_text_and_says_which_way_when_clicked(browser: Any) -> None:
    section, heading = "results-measured", "Configuration"
    click(browser, section, heading)
    found = column(browser, section, heading)
    assert found == sorted(found, key=str.lower)
    state = "return document.querySelectorAll('#results-measured th[aria-sort]')"
    (marked,) = browser.execute_script(state)
    assert marked.get_attribute("aria-sort") == "ascending"


def test_rows_stay_whole_when_sorted(browser: Any) -> None:
    def rows() -> set[str]:
        script = "return [...document.querySelectorAll('#slowest-kernels tbody tr')]"
        return {row.text for row in browser.execute_script(script)}

    before = rows()
    click(browser, "slowest-kernels", "GFLOP/s")
    assert rows() == before
    found = numbers(column(browser, "slowest-kernels", "GFLOP/s"))
    assert found == sorted(found)


def shown(browser: Any, what: str) -> list[list[str]]:
    """The model and target of each element that a reader sees, of those that have one."""
    script = """
        return [...document.querySelectorAll(arguments[0])]
          .filter((one) => !one.hidden).map((one) => [one.dataset.model, one.dataset.target]);
        """
    return list(browser.execute_script(script, what))


def choose(browser: Any, name: str, value: str) -> None:
    from selenium.webdriver.support.select import Select

    found = Select(browser.find_element("css selector", f"form.filter select[name={name}]"))
    found.select_by_visible_text(value)


def test_filter_shows_one_model(browser: Any) -> None:
    everything = "main tbody tr[data-model], figure, .answers tbody"
    before = shown(browser, everything)
    models = list(dict.fromkeys(model for model, _ in before))
    assert len(models) > 1
    links = "return [...document.querySelectorAll('nav a')].filter((one) => !one.hidden).length"
    sections = browser.execute_script(links)
    choose(browser, "model", models[0])
    assert shown(browser, everything) == [place for place in before if place[0] == models[0]]
    empty = browser.execute_script(
        """
        return [...document.querySelectorAll("main section")].filter((section) => !section.hidden
          && ![...section.querySelectorAll("tbody tr, figure")].some((one) => !one.hidden))
          .map((section) => section.id);
        """
    )
    assert empty == []
    assert browser.execute_script(links) <= sections
    choose(browser, "model", "all")
    assert shown(browser, everything) == before
    assert browser.execute_script(links) == sections


def test_every_link_leads_to_a_section(browser: Any) -> None:
    missing = browser.execute_script(
        """
        return [...document.querySelectorAll("nav a")]
          .filter((link) => !document.querySelector(link.getAttribute("href")))
          .map((link) => link.textContent);
        """
    )
    assert missing == []


def test_page_can_be_read_in_the_dark(browser: Any, tmp_path: Path) -> None:
    """Text and what is behind it differ by 4.5 to 1 (WCAG 2.1, 1.4.3), light and dark."""
    script = """
        const rgb = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
        const body = getComputedStyle(document.body);
        const style = (name) => getComputedStyle(document.querySelector(name));
        return [[rgb(body.color), rgb(body.backgroundColor)],
                [rgb(style(".reading").color), rgb(body.backgroundColor)],
                [rgb(style("td.bad").color), rgb(style(".scroll").backgroundColor)],
                [rgb(style("td.good").color), rgb(style(".scroll").backgroundColor)]];
    """
    backgrounds = set()
    for scheme in ("light", "dark"):
        feature = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
        for ink, paper in browser.execute_script(script):
            assert contrast(ink, paper) >= 4.5, (scheme, ink, paper)
            backgrounds.add(tuple(paper))
    assert len(backgrounds) == 4, "two schemes, each with paper and cards"


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of axe-core, which looks for what readers with disabilities cannot use."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm")
    folder = tmp_path_factory.mktemp("axe")
    command = [npm, "pack", AXE, "--pack-destination", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode:
        pytest.skip(f"npm cannot fetch {AXE}: {done.stderr.strip()[-200:]}")
    (packed,) = folder.glob("*.tgz")
    with tarfile.open(packed) as archive:
        script = archive.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_page_has_no_barriers(browser: Any, axe: str, width: int, scheme: str) -> None:
    feature = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
    browser.set_window_size(width, 900)
    browser.execute_script(axe)
    found = browser.execute_async_script(
        "axe.run().then(arguments[0], (e) => arguments[0](`${e}`))"
    )
    browser.set_window_size(1280, 900)
    places = {
        broken["id"]: [node["target"] for node in broken["nodes"][:3]]
        for broken in found["violations"]
    }
    assert places == {} and len(found["passes"]) > 20


def contrast(one: list[float], other: list[float]) -> float:
    """The contrast ratio of two sRGB colours (WCAG 2.1, relative luminance)."""

    def luminance(color: list[float]) -> float:
        parts = [part / 255 for part in color]
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
