"""A person in Chromium who is logged in and takes pictures."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.photographs.stage import PASSWORD, USER

HOW_TO_GET_IT = "The pictures are taken in Chromium, which is not on PATH: apt-get install chromium"
WIDE, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
_COLOURS = 128
"""A page of text needs no more; a picture is a third as large."""


@dataclass(frozen=True)
class Camera:
    """`page` is for clicks and forms; pictures go to `out`."""

    page: Page
    url: str
    out: Path

    def open(self, path: str) -> None:
        """Go to a page; anything but 200 is an error."""
        answer = self.page.goto(self.url + path)
        if answer is None or answer.status != 200:
            raise RuntimeError(f"{path} answered {answer and answer.status}")

    def shoot(self, name: str, *, path: str = "", whole: bool = False) -> None:
        """Photograph what is on the screen, or the whole page, after going to `path`."""
        if path:
            self.open(path)
        picture = Image.open(io.BytesIO(self.page.screenshot(full_page=whole, animations="disabled")))
        self.out.mkdir(parents=True, exist_ok=True)
        picture.convert("RGB").quantize(_COLOURS).save(self.out / f"{name}.png", optimize=True)


@contextmanager
def camera(url: str, out: Path, *, scheme: str = "light", phone: bool = False) -> Iterator[Camera]:
    """A browser that has logged in. Raises RuntimeError when there is no Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise RuntimeError(HOW_TO_GET_IT)
    look: dict[str, Any] = {"color_scheme": scheme, "viewport": PHONE if phone else WIDE}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        page = browser.new_context(**look).new_page()
        page.goto(f"{url}/admin/login/")
        page.fill("#id_username", USER)
        page.fill("#id_password", PASSWORD)
        page.click("input[type=submit]")
        page.wait_for_url(f"{url}/admin/")
        yield Camera(page, url, out)
        browser.close()
