"""The page of periodic jobs: asked first, done once, each with its own permission."""

from collections.abc import Iterator

import dramatiq
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from queueadmin.broker import LedgerRedisBroker
from queueadmin.models import Job, OperationLog, PeriodicControl
from queueadmin.pages.base import url
from tests.queueadmin.people import staff, text_of

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def nightly(broker: LedgerRedisBroker) -> Iterator[None]:
    def nightly() -> None: ...

    dramatiq.actor(nightly, broker=broker, queue_name="q", every_seconds=3600)
    before = dramatiq.get_broker()
    dramatiq.set_broker(broker)
    yield
    dramatiq.set_broker(before)


def post(client: Client, action: str, actor: str = "nightly") -> int:
    return client.post(url("periodic"), {"actor": actor, "action": action, "reason": "why not"}).status_code


def test_pause_run_and_resume_ask_first_and_leave_their_rows() -> None:
    operator = staff("view_job", "run_periodic", "pause_periodic")
    for action, sentence in (("pause", "Pause nightly?"), ("run", "Run nightly?"), ("resume", "Resume nightly?")):
        # Given the question, which changes nothing
        before = (Job.objects.count(), PeriodicControl.objects.count())
        assert sentence in text_of(operator, f"{url('periodic')}?actor=nightly&action={action}")
        assert (Job.objects.count(), PeriodicControl.objects.count()) == before
        # When / Then
        assert post(operator, action) == 302
    logs = OperationLog.objects.order_by("at").values_list("operation", "target", "reason", "done", "source")
    assert list(logs) == [
        (name, "nightly", "why not", 1, "admin") for name in ("pause periodic", "run now", "resume periodic")
    ]


def test_a_paused_one_says_who_and_why() -> None:
    operator = staff("view_job", "pause_periodic")
    post(operator, "pause")
    page = text_of(operator, url("periodic"))
    assert "Paused" in page
    assert "why not" in page
    assert "action=resume" in page
    assert "action=run" not in page


@pytest.mark.parametrize(
    ("action", "permission"),
    [("run", "run_periodic"), ("pause", "pause_periodic"), ("resume", "pause_periodic")],
)
def test_each_action_wants_its_own_permission(action: str, permission: str) -> None:
    outsider = staff("view_job", *({"run_periodic", "pause_periodic"} - {permission}))
    assert post(outsider, action) == 403
    asked = text_of(outsider, f"{url('periodic')}?actor=nightly&action={action}")
    assert f"{action.capitalize()} nightly?" not in asked
    assert not OperationLog.objects.exists()


@pytest.mark.parametrize(("action", "actor"), [("run", "nope"), ("nope", "nightly"), ("pause", "\x00"), ("", "")])
def test_what_is_not_there_is_not_found(action: str, actor: str) -> None:
    assert post(staff("view_job", "run_periodic", "pause_periodic"), action, actor) == 404
    assert not OperationLog.objects.exists()


def test_the_number_of_queries_does_not_grow_with_the_jobs(broker: LedgerRedisBroker) -> None:
    client = staff("view_job")

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            text_of(client, url("periodic"))
        return len(queries)

    before = cost()
    for number in range(5):
        dramatiq.actor(lambda: None, actor_name=f"p{number}", broker=broker, queue_name="q", every_seconds=60)
    assert cost() == before
