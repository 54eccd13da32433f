"""The admin in a real browser: every page works, light and dark, and none breaks the content security policy."""

import shutil
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth import get_user_model
from playwright.sync_api import Page, sync_playwright

from documents.models import Tenant
from queueadmin.models import Job, OperationLog
from queueadmin.pages.base import url as control_url
from queueadmin.pages.table import PAGES
from tests.documents import factories

PASSWORD = "a-long-test-password"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
WIDE, PHONE = {"width": 1360, "height": 850}, {"width": 390, "height": 844}

REPORT_VIOLATIONS = """
window.__violations = [];
document.addEventListener("securitypolicyviolation", event => window.__violations.push(
    `${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
"""


def log_in(page: Page, url: str) -> None:
    page.goto(f"{url}/admin/login/")
    page.fill("#id_username", "root")
    page.fill("#id_password", PASSWORD)
    page.click("input[type=submit]")
    page.wait_for_url(f"{url}/admin/")


def visit(page: Page, url: str) -> dict[str, object]:
    """What is wrong with a page: empty when it answers, breaks no policy, raises nothing and fits the screen."""
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    answer = page.goto(url)
    screen = page.viewport_size
    found = {
        "status": None if answer is not None and answer.status == 200 else answer and answer.status,
        "policy": page.evaluate("window.__violations"),
        "errors": errors,
        "hacked": page.evaluate("window.__hacked"),
        "too wide": screen is not None and page.evaluate("document.documentElement.scrollWidth") > screen["width"],
    }
    return {name: value for name, value in found.items() if value}


def retry_in_the_list(page: Page, url: str) -> dict[str, object]:
    """Select everything that failed, choose the action, give a reason, confirm."""
    page.goto(f"{url}/admin/documents/ingestiontask/?state=failed")
    page.check("#action-toggle")
    page.select_option("select[name=action]", "retry_jobs")
    page.click("button[name=index]")
    page.fill("#qa-reason", "looked at in a browser")
    page.click("input[value='Retry 1 job']")
    page.wait_for_selector("text=1 job queued again.")
    violations = page.evaluate("window.__violations")
    return {"policy": violations} if violations else {}


def pages_about(task_id: object) -> list[str]:
    return [
        "/admin/", "/admin/documents/", "/admin/documents/ingestiontask/",
        "/admin/documents/ingestiontask/?state=failed", f"/admin/documents/ingestiontask/{task_id}/change/",
        "/admin/documents/apikey/", "/admin/documents/apikey/add/", "/admin/documents/tenant/",
        "/admin/documents/webhookattempt/", "/admin/queueadmin/job/", f"/admin/queueadmin/job/{task_id}/change/",
        f"/admin/queueadmin/job/operate/retry/?ids={task_id}", "/admin/queueadmin/queuecontrol/",
        "/admin/queueadmin/queuecontrol/operate/pause/?queue=q", "/admin/queueadmin/operationlog/",
        "/admin/auth/user/", "/admin/password_change/",
        *control_pages(), f"/admin/control/bulk/new/?operation=retry&q=id:{task_id}",
    ]  # fmt: skip


def control_pages() -> list[str]:
    return [control_url(page.name) for page in PAGES if page.in_menu]


def accessibility(page: Page, url: str) -> dict[str, object]:
    """What axe finds on one of our pages, at the levels A and AA of WCAG 2."""
    page.goto(url)
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]})
    return {item["id"]: [node["target"] for node in item["nodes"]][:3] for item in found.response["violations"]}


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("valkey")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_admin_in_a_browser(live_server: object, needs: Callable[[str, str], None], scheme: str) -> None:
    needs("chromium", "chromium")
    # Given tasks in several states, one of them with a hostile name
    get_user_model().objects.create_superuser("root", password=PASSWORD)
    Tenant.objects.get_or_create(slug="default", defaults={"key_prefix": ""})
    failed = factories.task(
        file_name="<script>window.__hacked = 1</script>.pdf", metadata={"a": "<img src=x onerror=b>"}
    )
    factories.end(failed, "failed")
    factories.end(factories.task(), "completed")
    factories.task()
    url = str(live_server)
    # When a person logs in, visits every page, retries the failed task, and looks at the queues on a phone
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        context = browser.new_context(color_scheme=scheme, viewport=WIDE)  # type: ignore[arg-type]  # the literals above
        context.add_init_script(REPORT_VIOLATIONS)
        page = context.new_page()
        log_in(page, url)
        broken = {path: visit(page, url + path) for path in pages_about(failed)}
        broken["the retry"] = retry_in_the_list(page, url)
        looked_at = [
            *control_pages(), "/admin/queueadmin/job/", "/admin/documents/ingestiontask/",
            f"/admin/documents/ingestiontask/{failed}/change/", "/admin/queueadmin/queuecontrol/",
        ]  # fmt: skip
        barriers = {path: accessibility(page, url + path) for path in looked_at}
        page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # the literal above
        for path in ("/admin/queueadmin/queuecontrol/", *control_pages()):
            broken[f"{path} on a phone"] = visit(page, url + path)
        browser.close()
    # Then
    assert {path: found for path, found in broken.items() if found} == {}
    assert {path: found for path, found in barriers.items() if found} == {}
    assert Job.objects.get(pk=failed).state == "pending"
    assert OperationLog.objects.get().reason == "looked at in a browser"
