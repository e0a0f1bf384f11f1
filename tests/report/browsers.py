"""Headless Chromium for the tests: Debian's, or the one that LANGROUTE_TEST_CHROMIUM_PATH names.

Where there is none the tests are skipped by name; with LANGROUTE_TEST_CHROMIUM=required that is a failure.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Opened", "chromium", "opened"]

_NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium() -> Iterator[Any]:
    """Give a running browser, or skip by name where there is none."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("LANGROUTE_TEST_CHROMIUM_PATH") or next(
        filter(None, map(shutil.which, _NAMES)), None
    )
    if path is None:
        if os.environ.get("LANGROUTE_TEST_CHROMIUM") == "required":
            raise AssertionError("no Chromium: apt-get install chromium")
        pytest.skip("no Chromium on the path: apt-get install chromium")
    with sync_playwright() as playwright:
        # Without a sandbox it runs as root, as CI does; what it opens is our own file.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Opened:
    """A page that is open, with everything it complained of and asked for."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        page.on("popup", lambda popup: self.complaints.append(f"popup: {popup.url}"))
        page.on("request", lambda request: self.requests.append(request.url))

    def until(self, claim: str, wait_s: float = 60.0) -> None:
        """Wait until a claim in JavaScript holds; playwright's own way of waiting needs `unsafe-eval`."""
        last_s = time.monotonic() + wait_s
        while not self.page.evaluate(f"Boolean({claim})"):
            assert time.monotonic() < last_s, f"{claim} did not come true; the page said {self.complaints}"
            self.page.wait_for_timeout(20)

    def quiet(self) -> bool:
        """Whether the page asked for itself alone and complained of nothing."""
        asked = [url for url in self.requests if not url.startswith(("file:", "data:"))]
        assert (asked, self.complaints) == ([], [])
        return True


@contextmanager
def opened(browser: Any, path: Path, **context: Any) -> Iterator[Opened]:
    """Give the file opened in a page of its own, once its tables are there and its charts can be drawn."""
    context.setdefault("viewport", {"width": 1280, "height": 900})
    around = browser.new_context(**context)
    around.set_default_timeout(60_000)
    page = Opened(around.new_page())
    page.page.goto(path.as_uri(), wait_until="commit")
    page.until("window.langroute?.charted_ms")
    yield page
    around.close()
