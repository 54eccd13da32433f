"""The actors, run by a real worker: what their failures look like in the log."""

import logging
import threading

import dramatiq
import pytest
from django.conf import settings

from documents import conf, services, tasks
from queueadmin.broker import get_ledger_broker
from queueadmin.models import Job
from queueadmin.states import State
from tests.documents.api.tasks import request
from tests.servers import ValkeyServer, wait_until


@pytest.mark.django_db(transaction=True)
def test_expected_failures_are_lines_and_no_tracebacks(
    valkey_server: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a document that is not there, and a receiver that no webhook may go to
    caplog.set_level(logging.INFO)
    worker = dramatiq.Worker(get_ledger_broker(), worker_threads=1, worker_timeout=100)
    worker.start()
    try:
        # When both fail
        task_id = services.submit(
            request(r2_key="no/such/document.txt", callback_url="http://127.0.0.1/secret-path")
        ).task_id
        webhooks = Job.objects.filter(parent_id=task_id, state=State.FAILED)
        wait_until(webhooks.exists, seconds=20, what="the webhook to be refused")
    finally:
        worker.stop(timeout=5000)
    # Then nothing has a traceback, and one line says what became of the webhook, without its path
    assert Job.objects.get(pk=task_id).error_code == "not_found"
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []
    (said,) = [record for record in caplog.records if record.name == "documents.callbacks.delivery"]
    assert (said.levelname, said.__dict__["code"], said.__dict__["attempt"]) == ("WARNING", "callback_refused", 1)
    assert "secret-path" not in caplog.text + str(said.__dict__)


def test_a_worker_says_at_its_start_what_the_kernel_grants(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "documents.extraction.sandbox")
    # Given a process that takes no documents: it starts nothing
    tasks.ExtractionLife(["webhooks"]).after_process_boot(get_ledger_broker())
    assert "extraction-start" not in [thread.name for thread in threading.enumerate()]
    # When one that takes them starts
    tasks.ExtractionLife([settings.QUEUE_NAME]).after_process_boot(get_ledger_broker())
    try:
        wait_until(lambda: caplog.records, what="the line about the sandbox")
    finally:
        conf.close_sandbox()
    # Then it has said what its children may not do, and why where they may, before there was any document
    (said,) = caplog.records
    assert "memory" in said.__dict__["granted"]
    assert all("(" in refused for refused in said.__dict__["refused"])
    assert said.__dict__["children"] >= 1


def test_retention_is_on_the_dispatchers_timetable() -> None:
    """Nobody needs a cron job: expired tasks go every hour, orphaned objects every day."""
    actors = get_ledger_broker().actors.values()
    periods = {actor.actor_name: actor.options["every_seconds"] for actor in actors if "every_seconds" in actor.options}
    assert periods == {"cleanup": 3600, "sweep_orphans": 86_400}
