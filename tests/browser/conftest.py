"""A real Chromium, and people of each role in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.groups import make_groups
from tests.servers import missing_tools

PASSWORD = "a-long-test-password"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
WIDE, PHONE = {"width": 1360, "height": 850}, {"width": 390, "height": 844}
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]

REPORT_VIOLATIONS = """
window.__violations = [];
document.addEventListener("securitypolicyviolation", event => window.__violations.push(
    `${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for a file's tests; each has its own profile in it. Skips without one, in CI it fails.

    Not for all files: while Playwright's loop stands in this thread, no other test could run one of its own.
    """
    for missing in missing_tools({"chromium": "chromium"}):
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(missing))
    # Playwright's loop runs in this thread, where Django would refuse to ask the database. Nothing here is async.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@dataclass(kw_only=True)
class Person:
    """Somebody at a browser. Whatever a page does wrong is in `wrong`, by its address."""

    page: Page
    url: str
    wrong: dict[str, dict[str, Any]] = field(default_factory=dict)

    def visit(self, path: str, *, status: int = 200) -> Page:
        """Open a page and look at it: the answer, the policy, errors, and whether it fits the screen."""
        answer = self.page.goto(self.url + path)
        self.look(path)
        if answer is None or answer.status != status:
            self._note(path, {"status": answer and answer.status})
        return self.page

    def click(self, what: str) -> None:
        """Click a link or button, and look at where it leads."""
        with self.page.expect_navigation():
            self.page.click(what)
        self.look(f"{what} > {self.page.url.removeprefix(self.url)}")

    def look(self, name: str) -> None:
        screen = self.page.viewport_size
        assert screen is not None
        found = {
            "policy": self.page.evaluate("window.__violations"),
            "errors": list(self._errors),
            "hacked": self.page.evaluate("window.__hacked"),
            "too wide": self.page.evaluate("document.documentElement.scrollWidth") > screen["width"],
        }
        self._errors.clear()
        self._note(name, {key: value for key, value in found.items() if value})

    def visit_with_axe(self, path: str) -> None:
        """Open a page, and let axe look for barriers, at the levels A and AA of WCAG 2."""
        self.visit(path)
        found = Axe().run(self.page, options={"runOnly": LEVELS}).response["violations"]
        self._note(path, {item["id"]: [node["target"] for node in item["nodes"]][:3] for item in found})

    def __post_init__(self) -> None:
        self._errors: list[str] = []
        self.page.on("pageerror", lambda error: self._errors.append(str(error)))

    def _note(self, name: str, found: dict[str, Any]) -> None:
        if found:
            self.wrong.setdefault(name, {}).update(found)


PersonFactory = Callable[..., Person]


@pytest.fixture
def person(chromium: Browser, live_server: Any, valkey: object) -> Iterator[PersonFactory]:
    """`person("Operator")` is somebody of that group who has logged in; "superuser" and "outsider" work as well."""
    contexts: list[BrowserContext] = []

    def make(role: str, *, scheme: Any = "light", screen: dict[str, int] = WIDE, **options: Any) -> Person:
        viewport: Any = screen
        context = chromium.new_context(color_scheme=scheme, viewport=viewport, **options)
        contexts.append(context)
        context.add_init_script(REPORT_VIOLATIONS)
        cookie = session_of(role)
        if cookie:
            context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": str(live_server)}])
        return Person(page=context.new_page(), url=str(live_server))

    yield make
    for context in contexts:
        context.close()


def session_of(role: str) -> str:
    """A session of a new user of this role; empty for somebody who has not logged in."""
    from django.contrib.auth.models import Group  # settings are not there yet when this file is read

    if role == "anonymous":
        return ""
    make_groups()
    user, _ = get_user_model().objects.get_or_create(
        username=role.lower(), defaults={"is_staff": True, "is_superuser": role == "superuser"}
    )
    if role not in ("outsider", "superuser"):
        user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client.cookies[settings.SESSION_COOKIE_NAME].value
