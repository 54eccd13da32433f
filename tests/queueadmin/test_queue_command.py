"""`manage.py queue`: what it prints, what it changes, and the exit codes that scripts rely on."""

import io
import json
import logging
import re
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import dramatiq
import pytest
from django.core.management import CommandError, ManagementUtility, call_command
from rich.console import Console

from queueadmin import lifecycle, presence
from queueadmin.broker import LedgerRedisBroker
from queueadmin.jobs import Ready
from queueadmin.management import tables
from queueadmin.models import Job, OperationLog, QueueControl, WorkerProcess
from queueadmin.states import State
from tests.queueadmin.factories import WORKER, claimed, job_in, state_of, submitted

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def current_broker(broker: LedgerRedisBroker) -> Iterator[None]:
    before = dramatiq.get_broker()
    dramatiq.set_broker(broker)
    yield
    dramatiq.set_broker(before)


def queue(*arguments: str) -> str:
    out = io.StringIO()
    call_command("queue", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def queue_json(*arguments: str) -> Any:
    return json.loads(queue(*arguments, "--json"))


def refused(*arguments: str) -> tuple[int, str]:
    """Exit code and output of a command that does not do everything."""
    out = io.StringIO()
    with pytest.raises(SystemExit) as caught:
        call_command("queue", *arguments, stdout=out, stderr=out)
    return int(str(caught.value)), out.getvalue()


# -- looking -------------------------------------------------------------------------------------


def test_stats_of_an_empty_ledger_and_of_a_full_one() -> None:
    open_states = [str(state) for state in State if state not in (State.COMPLETED, State.CANCELLED)]
    assert queue_json("stats")["jobs"] == dict.fromkeys(open_states, 0)
    for state in State:
        job_in(state)
    found = queue_json("stats")
    assert found["jobs"] == dict.fromkeys(open_states, 1)
    assert (found["totals"]["completed"], found["totals"]["cancelled"]) == (1, 1)
    assert found["queues"]["q"]["pending"] == 1
    assert found["broker"]["up"] is True
    assert "Since the beginning: 1 completed, 1 failed" in queue("stats")


def test_list_filters_and_bounds() -> None:
    failed, _ = job_in(State.FAILED)
    submitted(queue="other")
    assert [job["id"] for job in queue_json("list", "--state", "failed")] == [str(failed)]
    assert len(queue_json("list", "--limit", "1")) == 1
    assert str(failed) in queue("list")
    assert queue("list", "--queue", "nothing-here").startswith("No such jobs.\n")


def test_list_takes_the_language_of_the_admin_and_options_for_its_terms() -> None:
    # Given
    theirs = submitted(partition_key="acme", actor="other")
    failed, _ = job_in(State.FAILED)

    def found(*arguments: str) -> list[str]:
        return [job["id"] for job in queue_json("list", *arguments)]

    # When / Then
    assert (
        found("--tenant", "acme") == found("--actor", "other") == found("tenant:acme", "actor:other") == [str(theirs)]
    )
    assert found("--error-code", "x") == found("state:failed", "error:x") == [str(failed)]
    assert found("--state", "failed", "--queue", "other") == []
    assert len(found("--since", "1h")) == 2
    assert found("--until", "1h") == []
    # A value with quotation marks is a value, not a term
    assert found("--tenant", '" state:failed "') == []
    # And where it stopped looking is said
    assert "Looked only at the last 7 days" in queue("list", "--tenant", "acme")
    assert "Looked only" not in queue("list", "--state", "failed")
    with pytest.raises(CommandError, match="There is no field 'colour'"):
        queue("list", "colour:red")
    with pytest.raises(CommandError, match="is no time"):
        queue("list", "--since", "yesterday")


def test_dead_letters_are_shown_by_error_with_what_to_do_next() -> None:
    assert queue("dead-letters") == "No dead letters.\n"
    first, _ = job_in(State.DEAD_LETTER)
    second, _ = job_in(State.DEAD_LETTER)
    job_in(State.FAILED)
    found = queue_json("dead-letters")
    assert found["by_error"] == {"x": 2}
    assert {job["id"] for job in found["jobs"]} == {str(first), str(second)}
    text = queue("dead-letters", "--limit", "1")
    assert "2 x" in text
    assert "manage.py queue retry --dead-letter --error-code x" in text
    assert (str(first) in text) + (str(second) in text) == 1


def test_status_shows_the_job_and_its_timeline() -> None:
    job_id, _ = job_in(State.DEAD_LETTER)
    found = queue_json("status", str(job_id))
    assert (found["id"], found["state"], found["error_code"]) == (str(job_id), "dead_letter", "x")
    assert [entry["edge"] for entry in found["timeline"]] == ["submit", "claim", "bury"]
    text = queue("status", str(job_id))
    assert "dead_letter" in text
    assert "bury" in text


def test_list_and_status_show_what_a_job_was_sent_with_and_no_secret() -> None:
    # Given a job whose arguments name a document, and secrets in three disguises
    arguments = {
        "r2_key": "in/report.pdf", "api_token": "hunter2", "login": {"password": "hunter2"},
        "source": "https://me:hunter2@example.org/x", "nothing": None,
    }  # fmt: skip
    job_id = submitted(payload={"args": [7], "kwargs": arguments, "options": {}})
    # When
    shown = [
        queue("list"),
        queue("status", str(job_id)),
        *map(str, (queue_json("list"), queue_json("status", str(job_id)))),
    ]
    # Then
    for text in shown:
        assert "0=7" in text
        assert "r2_key=in/report.pdf" in text
        assert "hunter2" not in text
    assert "https://[hidden]@example.org/x" in shown[1]
    # And a long one is cut, not wrapped
    submitted(payload={"args": ["x" * 5_000], "kwargs": {}, "options": {}})
    assert max(map(len, queue("list").splitlines())) <= 240
    assert sum("│" in line for line in queue("list").splitlines()) == 2


@pytest.mark.parametrize("width", [80, 100, 120, 189, 190, 240])
def test_a_list_names_job_state_and_arguments_on_a_terminal_of_any_width(width: int) -> None:
    # Given
    job_id, _ = job_in(State.FAILED, payload={"args": [], "kwargs": {"r2_key": "a.pdf"}, "options": {}})
    jobs = [tables.listed(job) for job in Job.objects.all()]
    # When
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(tables.jobs_table(jobs, "Jobs", width=width))
    # Then
    text = console.export_text()
    for shown in (str(job_id), "failed", "r2_key", "a.pdf"):
        assert shown in text


def test_a_job_that_retention_emptied_has_no_arguments() -> None:
    job_id, _ = job_in(State.COMPLETED)
    Job.objects.filter(pk=job_id).update(payload={})
    assert queue_json("status", str(job_id))["arguments"] == ""
    assert str(job_id) in queue("list")


def test_status_shows_the_jobs_that_follow_up() -> None:
    # Given a job that ended, and the failed job that followed it
    follow_up = {"actor": "act", "queue": "q", "priority": 0, "max_attempts": 3}
    parent, _ = job_in(State.COMPLETED, payload={"args": [], "kwargs": {}, "options": {"follow_up": follow_up}})
    (child,) = Job.objects.filter(parent_id=parent).values_list("pk", flat=True)
    lifecycle.finish([lifecycle.fail(claimed(child), code="refused", message="Not there.")], worker_id=WORKER)
    # When / Then
    (shown,) = queue_json("status", str(parent))["follow_ups"]
    assert (shown["id"], shown["actor"], shown["state"]) == (str(child), "act", "failed")
    text = queue("status", str(parent))
    assert str(child) in text
    assert "refused: Not there." in text


def test_a_pause_without_a_reason_ends_without_a_colon() -> None:
    submitted()
    queue("pause", "q")
    assert re.search(r"paused by \S+ +│", queue("stats"))
    queue("pause", "q", "--reason", "lunch")


def test_no_log_lines_stand_between_the_answers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    job_id, _ = job_in(State.FAILED)
    queue("retry", str(job_id))
    assert [record for record in caplog.records if record.name.startswith("queueadmin")] == []
    assert logging.getLogger("queueadmin").level == logging.NOTSET


def test_escape_sequences_in_an_error_message_do_not_reach_the_terminal() -> None:
    # Given an error message that would clear the screen and a name that would turn the line around
    job = claimed(submitted(partition_key="[red]t\u202e"))
    message = "\x1b[2J\x1b]0;pwned\x07[bold]not markup[/bold]"
    lifecycle.finish([lifecycle.fail(job, code="x", message=message)], worker_id=WORKER)
    # When / Then
    text = queue("status", str(job.id)) + queue("list")
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[bold]not markup[/bold]" in text
    assert "[red]t" in text


@pytest.mark.parametrize("command", ["status", "retry", "cancel", "discard"])
def test_an_id_that_is_none_is_said_to_be_none(command: str) -> None:
    with pytest.raises(CommandError, match=r"'42' is not a job's id") as caught:
        queue(command, "42")
    assert caught.value.returncode == 2


def test_status_of_an_unknown_id_is_an_error() -> None:
    unknown = uuid.uuid4()
    with pytest.raises(CommandError, match=f"There is no job {unknown}"):
        queue("status", str(unknown))


def test_workers_show_who_is_silent() -> None:
    assert "No worker has registered" in queue("workers")
    me = presence.Identity(id=7, name="w7", host="h", pid=1, pid_started="1")
    presence.register(me, queues=["q"], actors=["act"], threads=2)
    WorkerProcess.objects.update(beat_at="2026-01-01T00:00:00Z")
    assert [(worker["name"], worker["state"]) for worker in queue_json("workers")] == [("w7", "silent")]
    assert "silent" in queue("workers")


# -- acting --------------------------------------------------------------------------------------


def test_retry_cancel_and_discard_record_who_did_it() -> None:
    failed, dead, waiting = job_in(State.FAILED)[0], job_in(State.DEAD_LETTER)[0], submitted()
    assert queue("retry", str(failed), "--reason", "fixed") == "1 job queued again.\n"
    assert queue_json("discard", str(dead))["done"] == [str(dead)]
    assert "1 job cancelled" in queue("cancel", str(waiting))
    assert [state_of(job) for job in (failed, dead, waiting)] == ["pending", "cancelled", "cancelled"]
    log = OperationLog.objects.get(operation="retry")
    assert (log.source, log.reason, log.outcome) == ("cli", "fixed", "done")
    assert log.by


def test_what_is_refused_is_named_and_makes_the_exit_code_1() -> None:
    done, _ = job_in(State.COMPLETED)
    failed, _ = job_in(State.FAILED)
    unknown = uuid.uuid4()
    code, text = refused("retry", str(failed), str(done), str(unknown))
    assert code == 1
    assert "1 job queued again." in text
    assert f"left alone, {done}: completed" in text
    assert f"left alone, {unknown}: unknown" in text


def test_a_selection_is_retried_and_the_rest_is_left_alone() -> None:
    # Given dead letters of two kinds, and a failed job
    (busy, _), (other, _), (failed, _) = job_in(State.DEAD_LETTER), job_in(State.DEAD_LETTER), job_in(State.FAILED)
    Job.objects.filter(pk=other).update(error_code="other")
    # When / Then: by state and code
    assert queue("retry", "--dead-letter", "--error-code", "x", "--reason", "mended") == "1 job queued again.\n"
    assert [state_of(job) for job in (busy, other, failed)] == ["pending", "dead_letter", "failed"]
    assert OperationLog.objects.get(operation="retry").reason == "mended"
    # by the filter language, of both states, at most one: the oldest
    assert len(queue_json("retry", "--dead-letter", "--failed", "--limit", "1")["done"]) == 1
    assert queue_json("retry", "--search", "state:failed,dead_letter age<1h")["refused"] == {}
    assert {state_of(job) for job in (other, failed)} == {"pending"}
    assert queue("retry", "--dead-letter") == "No such jobs.\n"
    # And nothing at all is no selection
    with pytest.raises(CommandError, match="Say which jobs") as caught:
        queue("retry")
    assert caught.value.returncode == 2


@pytest.mark.parametrize("command", ["retry", "cancel", "discard"])
@pytest.mark.parametrize("selection", [["--queue", "other"], ["--search", "age>1h"], ["--limit", "5"]])
def test_ids_and_a_selection_contradict_each_other(command: str, selection: list[str]) -> None:
    # Given a job that each command would take, in another queue than is selected
    job_id, _ = job_in(State.DEAD_LETTER)
    # When / Then nothing is done, and it says what to write
    with pytest.raises(CommandError, match="not both") as caught:
        queue(command, str(job_id), *selection)
    assert (caught.value.returncode, state_of(job_id)) == (2, "dead_letter")


def test_what_is_so_already_is_no_failure() -> None:
    # Given what was done before
    cancelled, pending = job_in(State.CANCELLED)[0], submitted()
    queue("pause", "q")
    # When it is done once more / Then the exit code is 0, and what was left alone is said
    assert f"left alone, {cancelled}: cancelled" in queue("cancel", str(cancelled))
    assert f"left alone, {cancelled}: cancelled" in queue("discard", str(cancelled))
    assert f"left alone, {pending}: pending" in queue("retry", str(pending))
    assert queue("pause", "q") == "q is paused already.\n"
    assert queue("cancel", "--queue", "nowhere") == "No such jobs.\n"


@pytest.mark.parametrize(("command", "state", "after"), [
    ("cancel", State.PENDING, "cancelled"), ("discard", State.DEAD_LETTER, "cancelled"),
])  # fmt: skip
def test_a_selection_that_ends_jobs_is_confirmed(
    command: str, state: State, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given
    job_id, _ = job_in(state)
    # When somebody types something else / Then nothing happens
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    code, text = refused(command, "--state", state.value)
    assert (code, state_of(job_id)) == (1, state.value)
    assert f"1 job will be changed: {command}." in text
    # When the word is typed, or --yes is given
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{command}\n"))
    assert "1 job" in queue(command, "--state", state.value)
    assert state_of(job_id) == after
    other, _ = job_in(state)
    queue(command, "--search", f"id:{other}", "--yes")
    assert state_of(other) == after


def test_purge_empties_one_queue_and_knows_its_name() -> None:
    here, there = submitted(), submitted(queue="other")
    assert queue("purge", "q", "--yes") == "1 pending job cancelled.\n"
    assert (state_of(here), state_of(there)) == ("cancelled", "pending")
    with pytest.raises(CommandError, match="no queue 'nope'"):
        queue("purge", "nope", "--yes")


def test_cleanup_is_the_applications_own_command() -> None:
    # Given a task that ended long ago, and one that ended now
    old, _ = job_in(State.CANCELLED)
    new, _ = job_in(State.CANCELLED)
    Job.objects.filter(pk=old).update(finished_at="2026-01-01T00:00:00Z")
    # When / Then
    assert queue_json("cleanup", "--hours", "48", "--dry-run")["hours"] == 48.0
    assert not Job.objects.exclude(cleaned_at=None).exists()
    assert "Removed" in queue("cleanup", "--hours", "48")
    assert list(Job.objects.exclude(cleaned_at=None).values_list("pk", flat=True)) == [old]
    assert Job.objects.filter(pk=new, cleaned_at=None).exists()


def test_dead_letters_are_cleaned_up_after_a_question_only(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given
    dead, _ = job_in(State.DEAD_LETTER)
    Job.objects.filter(pk=dead).update(finished_at="2026-01-01T00:00:00Z")
    including = ("cleanup", "--hours", "48", "--include-dead-letters")

    def is_whole() -> bool:
        return Job.objects.filter(pk=dead, cleaned_at=None).exists()

    # When nobody is there to ask, or something else is typed / Then they stay
    for typed in ("", "yes\n"):
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        code, text = refused(*including)
        assert (code, is_whole()) == (1, True)
        assert "older than 48 h will be emptied, at most 1" in text
    # A dry run asks nothing; the word does it
    assert queue_json(*including, "--dry-run")["other_jobs"] == 1
    monkeypatch.setattr(sys, "stdin", io.StringIO("cleanup\n"))
    assert "Removed" in queue(*including)
    assert not is_whole()
    assert "Removed" in queue(*including, "--yes")


def test_pause_and_resume() -> None:
    submitted()
    assert queue("pause", "q", "--reason", "upgrade") == "q is paused.\n"
    assert QueueControl.objects.get(pk="q").reason == "upgrade"
    assert queue("pause", "q") == "q is paused already.\n"
    assert queue_json("resume", "q")["changed"] == 1
    with pytest.raises(CommandError, match="no queue 'nope'"):
        queue("pause", "nope")


def test_a_pause_ends_by_itself_and_a_drain_waits_for_what_runs() -> None:
    job = claimed(submitted())
    assert queue("pause", "q", "--for", "30m") == "q is paused for 30 m 00 s.\n"
    assert QueueControl.objects.get(pk="q").resume_at is not None
    queue("resume", "q")
    code, text = refused("drain", "q", "--wait", "0s", "--reason", "upgrade")
    assert (code, text) == (1, "q is paused, and 1 of its jobs still run.\n")
    lifecycle.finish([lifecycle.complete(job)], worker_id=WORKER)
    assert queue("drain", "q") == "q is paused, and nothing of it runs.\n"
    with pytest.raises(CommandError, match="no length of time"):
        queue("pause", "q", "--for", "soon")


def test_periodic_jobs_are_listed_run_paused_and_resumed(broker: LedgerRedisBroker) -> None:
    dramatiq.actor(lambda: None, actor_name="nightly", broker=broker, queue_name="q", every_seconds=3600)
    assert queue("periodic", "run", "nightly") == "nightly is sent.\n"
    assert queue("periodic", "run", "nightly") == "nightly is under way already.\n"
    assert queue_json("periodic", "pause", "nightly", "--reason", "noisy")["changed"]
    (row,) = queue_json("periodic")
    assert (row["actor"], row["reason"], row["every"]) == ("nightly", "noisy", 3600.0)
    assert "under way" in queue("periodic")
    assert queue("periodic", "resume", "nightly") == "nightly is sent by itself again.\n"
    with pytest.raises(CommandError, match="Name the periodic job"):
        queue("periodic", "run")
    with pytest.raises(CommandError, match="no periodic job 'nope'"):
        queue("periodic", "run", "nope")


def test_repair_shows_before_it_acts(broker: LedgerRedisBroker) -> None:
    # Given a job that the broker lost, and an id in the broker without a job
    lost = submitted(order_key=1)
    ghost = uuid.uuid4()
    broker.ready_sets.add([Ready(id=ghost, queue="q", priority=0, order_key=2)])
    # When / Then
    (found,) = [difference for difference in queue_json("repair", "--dry-run") if difference["queue"] == "q"]
    assert (found["missing"], found["ghosts"]) == ([str(lost)], [str(ghost)])
    assert "1 of 1 pending jobs were missing" in queue("repair")
    (found,) = [difference for difference in queue_json("repair", "--dry-run") if difference["queue"] == "q"]
    assert found["missing"] == []


def test_flush_empties_one_queue_or_all_when_told_not_to_ask() -> None:
    here, there, scheduled = submitted(), submitted(queue="other"), job_in(State.SCHEDULED)[0]
    assert queue("flush", "q", "--yes") == "1 pending job cancelled.\n"
    assert (state_of(here), state_of(there)) == ("cancelled", "pending")
    assert queue_json("flush", "--yes")[0]["changed"] == 1
    assert state_of(scheduled) == "scheduled"
    assert queue("flush", "--yes") == "Nothing was pending.\n"


def test_limits_are_set_shown_and_lifted() -> None:
    # Given a queue with a job of a tenant that runs
    claimed(submitted(partition_key="acme"))
    assert "No limits are set" in queue("limit")
    # When
    said = queue("limit", "1", "--partition", "acme", "--reason", "they flood us")
    assert "At most 1 at once of the partition acme in all queues; there was no limit." in said
    assert queue_json("limit", "4", "--queue", "q")["limit"] == 4
    # Then
    assert queue_json("limit") == [
        {"queue": "q", "partition": None, "limit": 4, "running": 1},
        {"queue": "", "partition": "acme", "limit": 1, "running": 1},
    ]
    assert "the partition acme in all queues" in queue("limit")
    assert OperationLog.objects.filter(operation="set_limit", source="cli").count() == 2
    assert "No limit for the queue q any more; it was 4." in queue("limit", "none", "--queue", "q")


@pytest.mark.parametrize("arguments", [["x"], ["-1"], ["3"], ["3", "--queue", "nowhere"]])
def test_a_limit_that_makes_no_sense_is_explained(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        queue("limit", *arguments)


@pytest.mark.parametrize("wrong", [
    ["list", "--state", "nonsense"], ["list", "--limit", "0"], ["list", "--limit", "many"], ["stats", "--watch", "0"],
    ["cleanup", "--hours", "-1"], ["nonsense"], ["list", "colour:red"], ["retry"], ["periodic", "run"],
])  # fmt: skip
def test_a_wrong_command_line_is_code_2(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        ManagementUtility(["manage.py", "queue", *wrong]).execute()
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
