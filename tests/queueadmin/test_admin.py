"""The control plane in the admin: GET changes nothing, POST acts once, each act wants its own permission."""

from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID, uuid4

import dramatiq
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from queueadmin import bulk, lifecycle, operations, presence
from queueadmin.broker import LedgerRedisBroker
from queueadmin.conf import QueueSettings
from queueadmin.context import JobContext
from queueadmin.filters import BoundedPaginator
from queueadmin.models import BulkOperation, Job, JobEvent, OperationLog, QueueControl, WorkerProcess
from queueadmin.states import State
from tests.queueadmin.factories import WORKER, claimed, job_in, new_job, state_of, submitted
from tests.queueadmin.people import staff, text_of
from tests.servers import free_port

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

JOBS, QUEUES, LOG = "/admin/queueadmin/job/", "/admin/queueadmin/queuecontrol/", "/admin/queueadmin/operationlog/"


@pytest.fixture(autouse=True)
def current_broker(broker: LedgerRedisBroker) -> Iterator[None]:
    before = dramatiq.get_broker()
    dramatiq.set_broker(broker)
    yield
    dramatiq.set_broker(before)


@pytest.fixture
def without_redis(settings_of_queue: QueueSettings) -> Iterator[None]:
    before = dramatiq.get_broker()
    away = LedgerRedisBroker(settings=replace(settings_of_queue, redis_url=f"redis://:hush@127.0.0.1:{free_port()}/0"))
    dramatiq.set_broker(away)
    yield
    dramatiq.set_broker(before)
    away.close()


@pytest.fixture
def admin(db: None) -> Client:
    return staff(superuser=True)


# -- lists ---------------------------------------------------------------------------------------


def test_the_list_shows_jobs_of_every_state_newest_first(admin: Client) -> None:
    jobs = sorted(job_in(state)[0] for state in State)  # two of one millisecond stand in any order
    page = text_of(admin, JOBS)
    newest_last = sorted(jobs)  # two of one millisecond are in the order of their ids
    positions = [page.index(f"{job_id.hex[-12:]}</a>") for job_id in newest_last]
    assert positions == sorted(positions, reverse=True)
    for state in State:
        assert f">{state.label}</span>" in page


@pytest.mark.parametrize("state", State)
def test_the_state_filter(admin: Client, state: State) -> None:
    jobs = {one: job_in(one)[0] for one in State}
    page = text_of(admin, f"{JOBS}?state={state}")
    assert [one for one in State if f"{jobs[one].hex[-12:]}</a>" in page] == [state]


@pytest.mark.parametrize(
    "query",
    ["state=nonsense", "created=never", "queue=nowhere", "p=-1", "p=abc", "o=99.1", "q=%00", "id__exact=x", "all=",
     "q=" + "x" * 5000, "state=%00", "created=hour&state=failed&queue=q&actor=act"],
)  # fmt: skip
def test_damaged_queries_are_answered_without_an_error(admin: Client, query: str) -> None:
    job_in(State.FAILED)
    assert admin.get(f"{JOBS}?{query}", follow=True).status_code == 200


@pytest.mark.parametrize("query", ["by=%00", "operation=%00", "source__exact=%00", "target=%00", "q=%00", "by=%00&e=1"])
def test_the_operations_log_takes_damaged_queries_as_well(admin: Client, query: str) -> None:
    operations.cancel([submitted()], by="x", source="cli")
    assert admin.get(f"{LOG}?{query}", follow=True).status_code == 200
    assert admin.get(f"{LOG}export/csv/?{query}", follow=True).status_code == 200


@pytest.mark.parametrize("key", ["x", "", "\x00", "1"])
def test_a_damaged_selection_is_a_bad_request(admin: Client, key: str) -> None:
    submitted()
    assert admin.post(JOBS, {"action": "cancel_jobs", "_selected_action": [key]}).status_code == 400


def test_search_finds_ids_children_and_fingerprints(admin: Client) -> None:
    parent = submitted()
    child = submitted(parent_id=parent)
    job = claimed(submitted())
    lifecycle.finish([lifecycle.fail(job, code="x", message="m", fingerprint="f" * 32)], worker_id=WORKER)

    def found(term: str) -> set[UUID]:
        page = text_of(admin, f"{JOBS}?q={term}")
        return {one for one in (parent, child, job.id) if f"{one.hex[-12:]}</a>" in page}

    assert found(str(parent)) == {parent, child}
    assert found(child.hex) == {child}
    assert found("f" * 32) == {job.id}
    assert found("nothing") == set()


def test_a_search_that_cannot_be_read_is_explained_and_the_bound_is_said(admin: Client) -> None:
    submitted()
    assert "There is no field &#x27;colour&#x27;" in text_of(admin, f"{JOBS}?q=colour:red")
    assert "Looked at the last 7 days" in text_of(admin, f"{JOBS}?q=queue:q")
    assert "Looked at" not in text_of(admin, f"{JOBS}?q=state:pending")


def test_the_number_of_queries_does_not_grow_with_the_rows(admin: Client) -> None:
    def cost(url: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            text_of(admin, url)
        return len(queries)

    submitted()
    before = [cost(url) for url in (JOBS, QUEUES, LOG)]
    for _ in range(30):
        job_in(State.FAILED)
    operations.cancel([submitted()], by="x", source="cli")
    assert [cost(url) for url in (JOBS, QUEUES, LOG)] == before


def test_no_list_counts_further_than_its_pages_go(admin: Client) -> None:
    submitted()
    with CaptureQueriesContext(connection) as queries:
        text_of(admin, JOBS)
    counts = [query["sql"] for query in queries if "COUNT(" in query["sql"] and "queueadmin_job" in query["sql"]]
    assert counts
    assert all(f"LIMIT {BoundedPaginator.LIMIT}" in sql for sql in counts)


# -- a job's page --------------------------------------------------------------------------------


def test_the_page_of_a_job_in_every_state(admin: Client) -> None:
    for state in State:
        job_id, _ = job_in(state, unique_key=f"key-{state}")
        page = text_of(admin, f"{JOBS}{job_id}/change/")
        assert f">{state.label}</span>" in page
        assert str(job_id) in page
        assert "submit" in page


def test_hostile_text_is_escaped_and_shown_for_what_it_is(admin: Client) -> None:
    # Given script, markup, control characters and direction marks wherever text comes from outside
    evil = "<script>alert(1)</script>\u202egnp.exe\x1b[2J"
    me = presence.Identity(id=WORKER, name=f"w{evil}", host=f"h{evil}", pid=1, pid_started="1")
    presence.register(me, queues=["q"], actors=["act"], threads=1)
    job = claimed(submitted(partition_key=evil[:60], unique_key=evil))
    bad = lifecycle.fail(job, code=evil[:64], message=evil, fingerprint=evil[:64], detail={evil: [evil]})
    lifecycle.finish([bad], worker_id=WORKER)
    operations.retry([job.id], by=evil, source="cli", reason=evil)
    operations.pause("q", by=evil, source="cli", reason=evil)
    # When / Then
    logs = [f"{LOG}{log.pk}/change/" for log in OperationLog.objects.all()]
    pages = (f"{JOBS}{job.id}/change/", JOBS, QUEUES, LOG, f"{QUEUES}operate/resume/?queue=q", *logs)
    for url in pages:
        page = text_of(admin, url)
        assert "<script>alert" not in page, url
        assert not set(page) & {"\x1b", "\u202e"}, url
    assert "\\u202egnp.exe" in text_of(admin, pages[0])


@pytest.mark.parametrize("job_id", ["nonsense", str(UUID(int=9)), "%00", "_00"])
def test_a_job_that_is_not_there(admin: Client, job_id: str) -> None:
    answer = admin.get(f"{JOBS}{job_id}/change/", follow=True)
    assert answer.status_code == 200
    assert b"There is no job" in answer.content


# -- operations on jobs ----------------------------------------------------------------------------


def test_an_action_asks_first_and_says_how_many_are_eligible(admin: Client) -> None:
    # Given
    failed, waiting, done = job_in(State.FAILED)[0], submitted(), job_in(State.COMPLETED)[0]
    ids = [str(job_id) for job_id in (failed, waiting, done)]
    # When the action is chosen in the list
    answer = admin.post(JOBS, {"action": "retry_jobs", "_selected_action": ids})
    # Then nothing has happened yet
    page = answer.content.decode()
    assert "<strong>1</strong> of 3 selected" in page
    assert "1 is completed" in page
    assert "1 is pending" in page
    assert state_of(failed) == State.FAILED
    assert not OperationLog.objects.exists()
    # When it is confirmed
    form = answer.context["hidden"] | {"reason": "the store is back"}
    answer = admin.post(answer.context["action"], form, follow=True)
    # Then
    assert b"1 job queued again." in answer.content
    assert state_of(failed) == State.PENDING
    log = OperationLog.objects.get()
    assert (log.operation, log.source, log.reason, log.requested, log.done) == (
        "retry", "admin", "the store is back", 3, 1,
    )  # fmt: skip
    assert log.user is not None


@pytest.mark.parametrize(
    ("operation", "state", "after"),
    [
        ("retry", State.FAILED, State.PENDING),
        ("retry", State.DEAD_LETTER, State.PENDING),
        ("retry", State.CANCELLED, State.PENDING),
        ("retry", State.RETRYING, State.PENDING),
        ("retry", State.SCHEDULED, State.PENDING),
        ("cancel", State.PENDING, State.CANCELLED),
        ("cancel", State.PROCESSING, State.PROCESSING),
        ("discard", State.DEAD_LETTER, State.CANCELLED),
    ],
)
def test_each_operation_from_the_page_of_the_job(admin: Client, operation: str, state: State, after: State) -> None:
    job_id, _ = job_in(state)
    # Given the button on the job's page, which leads to a confirmation
    url = f"{JOBS}operate/{operation}/?ids={job_id}"
    assert url in text_of(admin, f"{JOBS}{job_id}/change/")
    assert "is eligible" in text_of(admin, url)
    assert state_of(job_id) == state
    # When
    answer = admin.post(f"{JOBS}operate/{operation}/", {"ids": job_id.hex})
    # Then
    assert (answer.status_code, answer["Location"]) == (302, f"{JOBS}{job_id}/change/")
    assert state_of(job_id) == after
    assert OperationLog.objects.get().done == 1
    if operation == "cancel" and state == State.PROCESSING:
        assert Job.objects.get(pk=job_id).cancel_requested_at is not None


@pytest.mark.parametrize("ids", ["", "x", "1,2", "," * 10, ",".join([UUID(int=9).hex] * 1001)])
def test_damaged_ids_are_a_bad_request(admin: Client, ids: str) -> None:
    assert admin.post(f"{JOBS}operate/retry/", {"ids": ids}).status_code == 400
    assert admin.get(f"{JOBS}operate/nonsense/", {"ids": ids}).status_code == 404


@pytest.fixture
def bulk_actor(broker: LedgerRedisBroker) -> None:
    """The actor that carries bulk operations out, on the broker of these tests."""
    dramatiq.actor(lambda bulk_id: None, actor_name=bulk.ACTOR, broker=broker, queue_name="control")


@pytest.mark.usefixtures("bulk_actor")
def test_selecting_everything_is_cut_to_what_one_confirmation_covers(admin: Client) -> None:
    lifecycle.submit([new_job() for _ in range(1005)])
    answer = admin.post(JOBS, {"action": "cancel_jobs", "_selected_action": [str(uuid4())], "select_across": "1"})
    assert b"More than 1000 jobs were selected" in answer.content
    # Without a reason nothing happens: it is asked for again, and an empty one is none
    for reason in ("", "  "):
        again = admin.post(answer.context["action"], answer.context["hidden"] | {"reason": reason})
        assert b"more than 100 jobs needs a reason" in again.content
        assert not OperationLog.objects.exists()
    # With one, a worker does it: to those that were selected, and shows how far it is
    done = admin.post(answer.context["action"], answer.context["hidden"] | {"reason": "a bad batch"})
    operation = BulkOperation.objects.get()
    assert done["Location"] == f"/admin/control/bulk/{operation.pk}/"
    assert "1000 selected jobs" in text_of(admin, done["Location"])
    assert not Job.objects.filter(state=State.CANCELLED).exists()
    carry_out(operation)
    assert Job.objects.filter(state=State.CANCELLED).count() == 1000
    assert (log := OperationLog.objects.get()).operation == "bulk cancel"
    assert (log.done, log.reason, log.target) == (1000, "a bad batch", "1000 jobs")
    assert "1000 selected jobs" in text_of(admin, "/admin/control/bulk/")


@pytest.mark.usefixtures("bulk_actor")
@pytest.mark.parametrize(("operation", "options", "state"), [
    ("retry", {}, State.RETRYING), ("priority", {"priority": "7"}, State.PENDING),
])  # fmt: skip
def test_a_large_selection_is_done_by_a_worker_as_a_small_one_is_at_once(
    admin: Client, operation: str, options: dict[str, str], state: State
) -> None:
    # Given 101 jobs of 102
    jobs = [new_job() for _ in range(102)]
    lifecycle.submit(jobs)
    ids = [job.id for job in jobs]
    Job.objects.filter(pk__in=ids).update(state=state)
    # When
    form = {"ids": ",".join(job_id.hex for job_id in ids[1:]), "reason": "many", **options}
    assert admin.post(f"{JOBS}operate/{operation}/", form).status_code == 302
    carry_out(BulkOperation.objects.get())
    # Then all of them are changed, and the other one is not
    expected = {"state": State.PENDING, "priority": int(options.get("priority", 0))}
    assert Job.objects.filter(pk__in=ids[1:], **expected).count() == 101
    assert (Job.objects.get(pk=ids[0]).state, Job.objects.get(pk=ids[0]).priority) == (state, 0)


def carry_out(operation: BulkOperation) -> None:
    """What its job does."""
    job = JobContext(id=operation.pk, queue="control", actor="a", attempt=1, run=1, failures=0, max_attempts=1)
    bulk.run(operation.pk, job)


# -- permissions -----------------------------------------------------------------------------------

OPERATIONS = {"retry": "retry_job", "cancel": "cancel_job", "discard": "discard_job"}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_wants_its_own_permission(operation: str) -> None:
    job_id, _ = job_in(State.DEAD_LETTER if operation != "cancel" else State.PENDING)
    url = f"{JOBS}operate/{operation}/"
    others = [permission for name, permission in OPERATIONS.items() if name != operation]
    # Given one who may do everything else
    outsider = staff("view_job", "purge_job", "pause_queue", *others)
    assert outsider.get(url, {"ids": str(job_id)}).status_code == 403
    assert outsider.post(url, {"ids": str(job_id)}).status_code == 403
    assert f"operate/{operation}/" not in text_of(outsider, f"{JOBS}{job_id}/change/")
    assert f"{operation}_jobs" not in text_of(outsider, JOBS)
    # and one who may do only this, but not look
    assert staff(OPERATIONS[operation]).post(url, {"ids": str(job_id)}).status_code == 403
    assert not OperationLog.objects.exists()
    # When one who may does it
    operator = staff("view_job", OPERATIONS[operation])
    assert f"operate/{operation}/" in text_of(operator, f"{JOBS}{job_id}/change/")
    assert operator.post(url, {"ids": str(job_id)}).status_code == 302
    assert OperationLog.objects.get().done == 1


@pytest.mark.parametrize("url", [JOBS, QUEUES, LOG])
def test_pages_want_the_permission_to_view(url: str) -> None:
    assert staff().get(url).status_code == 403
    assert Client().get(url).status_code == 302
    permission = {JOBS: "view_job", QUEUES: "view_queuecontrol", LOG: "view_operationlog"}[url]
    assert staff(permission).get(url).status_code == 200


def test_nobody_edits_adds_or_deletes_rows_of_the_ledger(admin: Client) -> None:
    job_id, _ = job_in(State.FAILED)
    operations.cancel([submitted()], by="x", source="cli")
    log = OperationLog.objects.get()
    before = (Job.objects.count(), JobEvent.objects.count(), OperationLog.objects.count())
    for base, row in ((JOBS, job_id), (LOG, log.pk)):
        assert admin.post(f"{base}add/", {}).status_code == 403
        assert admin.post(f"{base}{row}/delete/", {"post": "yes"}).status_code == 403
        admin.post(base, {"action": "delete_selected", "_selected_action": [str(row)], "post": "yes"})
    admin.post(f"{JOBS}{job_id}/change/", {"state": "completed"})
    assert admin.post(f"{LOG}{log.pk}/change/", {"by": "nobody"}).status_code == 403
    assert (Job.objects.count(), JobEvent.objects.count(), OperationLog.objects.count()) == before
    assert state_of(job_id) == State.FAILED


# -- queues --------------------------------------------------------------------------------------


def test_the_queue_page_is_designed_for_emptiness(admin: Client) -> None:
    page = text_of(admin, QUEUES)
    assert "No worker is alive" in page
    assert "No queue is known yet" in page
    assert "No worker has registered" in page


def test_the_queue_page_shows_queues_and_workers_and_silent_ones_stand_out(admin: Client) -> None:
    for state in State:
        job_in(state)
    for number, name in ((1, "alive-one"), (2, "silent-one")):
        me = presence.Identity(id=number, name=name, host="h", pid=number, pid_started="1")
        presence.register(me, queues=["q"], actors=["act"], threads=4)
    WorkerProcess.objects.filter(pk=2).update(beat_at="2026-01-01T00:00:00Z")
    page = text_of(admin, QUEUES)
    assert page.index("silent-one") < page.index("alive-one")
    assert page.count('class="qa-silent"') == 1
    assert "No worker is alive" not in page
    assert "valkey" in page


def test_with_redis_down_every_page_works_from_the_ledger_and_the_queue_page_says_so(
    admin: Client, without_redis: None
) -> None:
    job_id = submitted()
    page = text_of(admin, QUEUES)
    assert "The broker (Redis) is down" in page
    assert "hush" not in page
    assert "The broker does not answer" in text_of(admin, f"{JOBS}{job_id}/change/")
    assert admin.post(f"{JOBS}operate/cancel/", {"ids": str(job_id)}).status_code == 302
    assert state_of(job_id) == State.CANCELLED


def test_pause_resume_and_purge_ask_first_and_leave_their_row(admin: Client) -> None:
    job_id = submitted()
    for operation, reason in (("pause", "upgrade"), ("purge", "bad batch"), ("resume", "")):
        url = f"{QUEUES}operate/{operation}/"
        assert url in text_of(admin, QUEUES)
        before = (state_of(job_id), QueueControl.objects.filter(paused_at__isnull=False).exists())
        assert "q" in text_of(admin, f"{url}?queue=q")
        assert (state_of(job_id), QueueControl.objects.filter(paused_at__isnull=False).exists()) == before
        assert admin.post(url, {"queue": "q", "reason": reason, "expected": 1})["Location"] == QUEUES
    logs = OperationLog.objects.order_by("at").values_list("operation", "reason", "done")
    assert list(logs) == [("pause", "upgrade", 1), ("purge", "bad batch", 1), ("resume", "", 1)]
    assert state_of(job_id) == State.CANCELLED


@pytest.mark.parametrize(
    ("operation", "permission"),
    [("pause", "pause_queue"), ("drain", "pause_queue"), ("purge", "purge_job"), ("limit", "limit_queue")],
)
def test_queue_operations_want_their_own_permission(operation: str, permission: str) -> None:
    submitted()
    url = f"{QUEUES}operate/{operation}/"
    others = {"pause_queue", "purge_job", "limit_queue"} - {permission}
    outsider = staff("view_queuecontrol", *others)
    assert outsider.post(url, {"queue": "q"}).status_code == 403
    assert f"operate/{operation}/" not in text_of(outsider, QUEUES)
    assert not OperationLog.objects.exists()
    assert staff("view_queuecontrol", permission).post(url, {"queue": "q", "expected": 1}).status_code == 302


@pytest.mark.parametrize("queue", ["", "nope", "q\x00", "../q"])
def test_an_unknown_queue_is_not_found(admin: Client, queue: str) -> None:
    submitted()
    assert admin.post(f"{QUEUES}operate/pause/", {"queue": queue}).status_code == 404


# -- content security ------------------------------------------------------------------------------


def test_no_page_holds_an_inline_script_style_or_handler(admin: Client) -> None:
    job_id, _ = job_in(State.FAILED)
    operations.pause("q", by="x", source="cli")
    log = OperationLog.objects.get()
    urls = [
        "/admin/", "/admin/queueadmin/", JOBS, f"{JOBS}{job_id}/change/", f"{JOBS}operate/retry/?ids={job_id}", QUEUES,
        f"{QUEUES}operate/resume/?queue=q", LOG, f"{LOG}{log.pk}/change/",
    ]  # fmt: skip
    for url in urls:
        answer = admin.get(url)
        page = answer.content.decode()
        assert "unsafe-inline" not in answer["Content-Security-Policy"], url
        assert "style=" not in page, url
        assert "<style" not in page, url
        assert "onclick=" not in page, url
        assert all("src=" in tag for tag in page.split("<script")[1:] for tag in [tag.split(">")[0]]), url
