"""The report in a browser: it is read, searched, filtered, sorted and printed there; nothing in it acts by itself."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib", reason="needs the extra `report`")
pytest.importorskip("jinja2", reason="needs the extra `report`")

import reports

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra `dev`")

CHROMIUM = os.environ.get("BERTFT_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None, reason="needs Chromium: `apt install chromium`, or its path in BERTFT_CHROMIUM"
    ),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # playwright leaves its pipes to the collector
]


@dataclass
class Watched:
    """A page, and all that it did besides being shown."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def is_quiet(self) -> None:
        assert (self.said, self.asked, self.dialogs) == ([], [], [])

    def cards(self) -> list[str]:
        return list(self.page.locator("#list > li").all_inner_texts())

    def is_as_wide_as_its_window(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report of each kind."""
    folder = tmp_path_factory.mktemp("reports")
    made = {
        "labels": reports.labelled(400, ["pos", "neg", "other"], wrong=0.4),
        "hostile": reports.hostile(),
        "entities": reports.tagged(),
        "answers": reports.answered(),
        "many": reports.labelled(600, [f"class_{i}_{'x' * 60}" for i in range(40)], wrong=0.3),
    }
    for name, judged in made.items():
        (folder / f"{name}.html").write_text(reports.page(judged), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in made}


@contextmanager
def opened(browser: Any, file: Path, **settings: Any) -> Iterator[Watched]:
    context = browser.new_context(**settings)
    page = context.new_page()
    watched = Watched(page)
    page.on("console", lambda message: watched.said.append(message.text))
    page.on("pageerror", lambda error: watched.said.append(str(error)))
    page.on("request", lambda request: watched.asked.append(request.url))
    page.on("dialog", lambda dialog: (watched.dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(file.as_uri())
    assert watched.asked.pop(0) == file.as_uri()
    yield watched
    context.close()


def test_search_and_filters_narrow_the_list(browser: Any, files: dict[str, Path]) -> None:
    with opened(browser, files["labels"]) as seen:
        page = seen.page
        total = int(page.locator("#count").inner_text().split()[0])
        assert len(seen.cards()) == 40 < total
        page.locator("#more").click()
        assert len(seen.cards()) == 80
        page.locator("#by-gold").select_option(label=page.locator("#by-gold option").nth(1).inner_text())
        gold = page.locator("#by-gold option").nth(1).inner_text().rpartition(" (")[0]
        some = seen.cards()
        assert some
        assert all(f"gold\n{gold}" in card for card in some)
        page.locator("#by-predicted").select_option(index=1)
        fewer = int(page.locator("#count").inner_text().split()[0])
        assert fewer < total
        row = page.locator("#list > li").first.locator(".text").inner_text().split()[2]
        page.locator("#search").fill(f"ROW {row}")
        page.wait_for_timeout(300)
        assert 0 < len(seen.cards()) < fewer
        assert all("row " in card and row in card for card in seen.cards())
        page.get_by_role("button", name="Clear").click()
        playwright.expect(page.locator("#count")).to_have_text(f"{total} of {total} rows")
        page.locator("#search").fill("nothing has this")
        playwright.expect(page.locator("#count")).to_have_text(f"0 of {total} rows")
        assert seen.cards() == []
        seen.is_quiet()


def test_it_is_used_with_the_keyboard_alone(browser: Any, files: dict[str, Path]) -> None:
    with opened(browser, files["labels"]) as seen:
        page = seen.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        reached: list[str] = []
        for _ in range(60):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
            if reached[-1] == "more":
                break
        assert {"search", "by-gold", "by-predicted", "more"} <= {*reached}
        page.keyboard.press("Enter")
        assert len(seen.cards()) == 80
        assert page.evaluate("document.activeElement.tagName") == "LI"
        page.locator("#search").focus()
        page.keyboard.type("csv:2 test")
        page.keyboard.press("Enter")
        assert all("test.csv:2" in card for card in seen.cards())
        head = page.locator("thead th", has_text="precision").first
        head.locator("button").focus()
        assert head.get_attribute("aria-sort") == "none"
        for order in ("descending", "ascending"):
            page.keyboard.press("Enter")
            assert head.get_attribute("aria-sort") == order
            column = [
                float(cell) for cell in page.locator("table").first.locator("tbody td:nth-child(2)").all_inner_texts()
            ]
            assert column == sorted(column, reverse=order == "descending")
        seen.is_quiet()


def test_every_field_has_a_name_and_every_figure_an_alternative(browser: Any, files: dict[str, Path]) -> None:
    with opened(browser, files["labels"]) as seen:
        page = seen.page
        unnamed = "[...document.querySelectorAll('input, select')].filter(one => !one.labels.length).length"
        assert page.evaluate(unnamed) == 0
        assert page.evaluate("[...document.querySelectorAll('svg')].every(one => one.getAttribute('aria-label'))")
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
        assert len(ids) == len({*ids})
        assert page.evaluate("document.documentElement.lang") == "en"


def test_hostile_text_does_nothing(browser: Any, files: dict[str, Path]) -> None:
    with opened(browser, files["hostile"]) as seen:
        page = seen.page
        while page.locator("#more").is_visible():
            page.locator("#more").click()
        page.locator("#search").fill("alert")
        page.wait_for_timeout(300)
        assert len(seen.cards()) > 20
        seen.is_quiet()
        assert page.evaluate("document.querySelectorAll('img, iframe, main svg [onload], [onerror]').length") == 0
        assert page.evaluate("document.scripts.length") == 2
        assert "<script>alert(1)</script>" in page.locator("#list").inner_text()
        # what the page itself may not do, even if markup came through
        page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=alert(9)>')")
        page.wait_for_timeout(200)
        assert seen.dialogs == []
        assert any("Content Security Policy" in line for line in seen.said)


@pytest.mark.parametrize("name", ["labels", "hostile", "entities", "answers", "many"])
def test_a_phone_needs_no_sideways_scrolling(browser: Any, files: dict[str, Path], name: str) -> None:
    with opened(browser, files[name], viewport={"width": 375, "height": 700}, has_touch=True) as seen:
        assert seen.is_as_wide_as_its_window()
        seen.is_quiet()


def test_dark_mode_has_light_text_on_dark_paper_also_in_figures(browser: Any, files: dict[str, Path]) -> None:
    shades = """[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,
        getComputedStyle(document.querySelector('svg text')).fill].map(c => Number(c.match(/\\d+/)[0]))"""
    for scheme, is_dark in (("light", False), ("dark", True)):
        with opened(browser, files["labels"], color_scheme=scheme) as seen:
            paper, ink, figure = seen.page.evaluate(shades)
            assert (paper < 60, ink > 180, figure > 180) == (is_dark, is_dark, is_dark)
            seen.is_quiet()


def test_spans_are_marked(browser: Any, files: dict[str, Path]) -> None:
    with opened(browser, files["entities"]) as seen:
        page = seen.page
        page.locator("#by-kind").select_option(label=next(
            text for text in page.locator("#by-kind option").all_inner_texts() if text.startswith("wrong type")
        ))  # fmt: skip
        first = page.locator("#list > li").first
        assert first.locator("mark.missed").first.inner_text().endswith("PER")
        assert "ORG: wrong type" in first.locator("mark.wrong").first.inner_text()
        seen.is_quiet()
    with opened(browser, files["answers"]) as seen:
        assert seen.page.locator("mark.predicted", has_text="Rome").count() == 1


def test_it_prints(browser: Any, files: dict[str, Path]) -> None:
    with opened(browser, files["labels"], color_scheme="dark") as seen:
        pdf = seen.page.pdf(format="A4")
        assert pdf.startswith(b"%PDF")
        assert pdf.count(b"/Type /Page\n") > 1 or len(pdf) > 50_000
        seen.page.emulate_media(media="print")
        assert not seen.page.locator("#filters").is_visible()
        assert not seen.page.locator("nav").is_visible()
        seen.is_quiet()
