"""`manage.py worker_health` tells the truth about this host's workers."""

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from queueadmin import presence
from queueadmin.models import WorkerProcess
from queueadmin.presence import Identity

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]


def a_worker(number: int, *, host: str = "", silent_for: float = 0.0) -> Identity:
    """A registered worker, of this host unless `host` names another one."""
    here = presence.identify(number, name=f"worker-{number}")
    identity = Identity(
        id=number, name=here.name, host=host or here.host, pid=here.pid + number, pid_started=here.pid_started
    )
    presence.register(identity, queues=["q"], actors=["act"], threads=1)
    beat_at = datetime.now(UTC) - timedelta(seconds=silent_for)
    WorkerProcess.objects.filter(pk=number).update(beat_at=beat_at)
    return identity


def answer(*arguments: str) -> str:
    output = StringIO()
    call_command("worker_health", *arguments, stdout=output)
    return output.getvalue()


def test_one_beating_worker_of_this_host_is_enough() -> None:
    a_worker(1)
    a_worker(2, silent_for=60)
    assert answer().startswith("worker-1: alive, last beat")
    assert len(answer().splitlines()) == 1


def test_without_a_beating_worker_of_this_host_it_fails_and_says_why() -> None:
    # Given nobody / Then
    with pytest.raises(CommandError, match="No worker runs on this host"):
        answer()
    # Given one that beats elsewhere / Then
    a_worker(1, host="elsewhere/boot/ns")
    with pytest.raises(CommandError, match="No worker runs on this host"):
        answer()
    # Given one here that is silent / Then
    a_worker(2, silent_for=60)
    with pytest.raises(CommandError, match=r"worker-2 is silent: no beat for \d+ s"):
        answer()
    # Given one here that has stopped / Then
    WorkerProcess.objects.filter(pk=2).update(stopped_at=datetime.now(UTC), beat_at=datetime.now(UTC))
    with pytest.raises(CommandError, match="No worker runs on this host"):
        answer()


@pytest.mark.parametrize("name", ["worker-1", "1"])
def test_a_worker_can_be_named_wherever_it_runs(name: str) -> None:
    a_worker(1, host="elsewhere/boot/ns")
    a_worker(2)
    assert answer("--worker-id", name).startswith("worker-1: alive")
    with pytest.raises(CommandError, match="No worker nobody runs"):
        answer("--worker-id", "nobody")
