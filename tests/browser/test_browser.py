"""What a visitor with a real browser sees: unchanged pages cost a 304 or nothing, an edited one is fresh at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

pytest.importorskip("websockets", reason="the browser is driven through a web socket: pip install websockets")
pytest.importorskip("uvicorn", reason="the page needs a server: pip install uvicorn")
pytest.importorskip("starlette", reason="the page is a Starlette application: pip install starlette")

from tests.browser.chromium import Tab
from tests.servers import Server, free_port

ROOT = Path(__file__).parents[2]


class Site(Server):
    """The application of `tests.browser.site` under uvicorn."""

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def made(self) -> int:
        """How often the page was made."""
        return int(self.ask("/made"))

    def ask(self, path: str, data: bytes | None = None) -> str:
        """What somebody else gets; with data by POST."""
        with urlopen(self.url(path), data, timeout=30) as answer:  # noqa: S310
            return str(answer.read().decode())

    def _launch(self, log: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "--factory", "tests.browser.site:create", "--host=127.0.0.1",
             f"--port={self.port}", "--log-level=warning", "--timeout-graceful-shutdown=2"],
            cwd=ROOT, env=os.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def _answers(self) -> bool:
        try:
            return self.ask("/health") == "well"
        except OSError:
            return False


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as server:
        yield server


def test_a_second_visit_and_a_reload_are_answered_with_304_and_an_edit_shows_at_once(site: Site, tab: Tab) -> None:
    first = tab.go(site.url("/page"))
    assert (first.text.splitlines()[0], first.status, site.made()) == ("First edition", 200, 1)

    assert tab.go(site.url("/elsewhere")).text == "Elsewhere"
    again = tab.go(site.url("/page"))
    assert (again.text, again.status, site.made()) == (first.text, 304, 1)

    reloaded = tab.reload()
    assert (reloaded.text, reloaded.status, site.made()) == (first.text, 304, 1)

    saved = tab.run("document.querySelector('input').value = 'Second edition'; document.forms[0].submit()")
    assert (saved.text.splitlines()[0], saved.status, site.made()) == ("Second edition", 200, 2)

    tab.go(site.url("/elsewhere"))
    edited = tab.go(site.url("/page"))
    assert (edited.text, edited.status, site.made()) == (saved.text, 304, 2)


def test_the_back_button_shows_the_page_without_making_it_again(site: Site, tab: Tab) -> None:
    first = tab.go(site.url("/page"))
    tab.go(site.url("/elsewhere"))
    back = tab.back()
    assert (back.text, site.made()) == (first.text, 1)
    assert back.stored or back.status == 304


def test_an_edit_by_somebody_else_shows_with_the_next_visit_and_with_a_reload(site: Site, tab: Tab) -> None:
    tab.go(site.url("/page"))
    assert "Second edition" in site.ask("/edit", b"title=Second+edition")
    tab.go(site.url("/elsewhere"))
    visit = tab.go(site.url("/page"))
    assert (visit.text.splitlines()[0], visit.status) == ("Second edition", 200)
    assert "Third edition" in site.ask("/edit", b"title=Third+edition")
    reloaded = tab.reload()
    assert (reloaded.text.splitlines()[0], reloaded.status) == ("Third edition", 200)
