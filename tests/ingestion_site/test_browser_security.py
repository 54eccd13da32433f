"""Every page carries a strict Content-Security-Policy, and works under it in a real browser."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from pytest_django.live_server_helper import LiveServer

PAGES = [
    "/admin/login/",
    "/api/docs/",
    "/api/schema/",
    "/health/live",
    "/health/ready",
    "/no/such/page",
    "/api/nothing",
]
INLINE = re.compile(
    r"<style\b|\sstyle=|\son[a-z]+=|<script(?![^>]*\bsrc=)(?![^>]*type=\"application/json\")", re.IGNORECASE
)


def policy(header: str) -> dict[str, list[str]]:
    return {name: values for name, *values in (part.split() for part in header.split(";"))}


def assert_strict(header: str) -> None:
    directives = policy(header)
    assert directives["default-src"] == ["'self'"]
    assert directives["object-src"] == directives["base-uri"] == directives["frame-ancestors"] == ["'none'"]
    assert "unsafe" not in header
    assert "*" not in header


@pytest.mark.parametrize("path", PAGES)
def test_every_page_has_the_policy_and_nothing_inline(client: Client, db: None, path: str) -> None:
    response = client.get(path)
    assert_strict(response["Content-Security-Policy"])
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["X-Frame-Options"] == "DENY"
    assert response["Referrer-Policy"] == "same-origin"
    if response["Content-Type"].startswith("text/html"):
        assert not INLINE.search(response.content.decode())


def test_the_admin_has_the_policy_and_nothing_inline(admin_client: Client) -> None:
    # Given every page that the admin's index links to
    index = admin_client.get("/admin/").content.decode()
    links = set(re.findall(r'href="(/admin/[^"]*)"', index)) - {"/admin/logout/"}
    assert len(links) > 2
    # When / Then
    for link in links:
        response = admin_client.get(link, follow=True)
        assert response.status_code == 200, link
        assert_strict(response["Content-Security-Policy"])
        assert not INLINE.search(response.content.decode()), link


def browse(url: str) -> tuple[str, str]:
    """The page's final document and what the browser had to say, from a headless Chromium."""
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [
                shutil.which("chromium") or "chromium", "--headless", "--no-sandbox", "--disable-gpu",
                "--disable-dev-shm-usage", "--enable-logging=stderr", "--virtual-time-budget=8000",
                f"--user-data-dir={profile}", "--dump-dom", url,
            ],
            capture_output=True, text=True, timeout=90,
        )  # fmt: skip
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


@pytest.mark.parametrize(("path", "shown"), [("/api/docs/", "information-container"), ("/admin/login/", "Log in")])
def test_pages_work_in_a_browser_without_breaking_the_policy(
    live_server: LiveServer, needs: Callable[[str, str], None], path: str, shown: str
) -> None:
    needs("chromium", "chromium")
    get_user_model().objects.create_superuser("admin", password="admin")
    page, console = browse(live_server.url + path)
    assert shown in page
    assert "Content Security Policy" not in console
    assert "Error" not in console
