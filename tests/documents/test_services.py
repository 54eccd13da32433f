"""Cancel and the rest of the services that no endpoint covers yet."""

import uuid

import pytest

from documents import services
from documents.models import IngestionTask
from documents.selectors import TaskNotFound
from queueadmin.broker import get_ledger_broker
from queueadmin.exceptions import InvalidTransition, QueueFull
from queueadmin.models import Job, JobEvent
from queueadmin.room import RoomKeeper
from queueadmin.states import State
from tests.documents.api.tasks import request, state_of, submitted, task_in

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


@pytest.mark.parametrize("state", [State.PENDING, State.RETRYING])
def test_a_waiting_task_is_cancelled_at_once(state: State) -> None:
    task_id = task_in(state)
    services.cancel(task_id, tenant="default", by="test")
    assert state_of(task_id) == State.CANCELLED


def test_a_running_task_is_asked_to_stop_and_asking_twice_is_harmless() -> None:
    task_id = task_in(State.PROCESSING)
    for _ in range(2):
        services.cancel(task_id, tenant="default", by="test")
    assert Job.objects.get(pk=task_id).cancel_requested_at is not None


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED])
def test_a_task_that_ended_cannot_be_cancelled(state: State) -> None:
    with pytest.raises(InvalidTransition) as error:
        services.cancel(task_in(state), tenant="default", by="test")
    assert error.value.state == state


def test_another_tenants_task_cannot_be_cancelled() -> None:
    task_id = task_in(State.PENDING)
    with pytest.raises(TaskNotFound):
        services.cancel(task_id, tenant="acme", by="test")
    with pytest.raises(TaskNotFound):
        services.cancel(uuid.uuid4(), tenant="default", by="test")
    assert state_of(task_id) == State.PENDING


def test_the_limit_counts_pending_tasks_only() -> None:
    # Given a queue with room for one, and tasks that have left it
    broker = get_ledger_broker()
    usual, broker.room = broker.room, RoomKeeper(limit=1)
    try:
        for state in (State.COMPLETED, State.PROCESSING, State.RETRYING):
            task_in(state)
        submitted()
        with pytest.raises(QueueFull):
            services.submit(request())
    finally:
        broker.room = usual


def test_a_submission_whose_commit_was_not_heard_of_is_repeated_and_stored_once() -> None:
    # Given a task that was stored, and whose submitter did not hear of it
    task_id = services.submit(request()).task_id
    # When it submits once more, under the same id, as after a lost reply
    assert services.submit(request(), task_id=task_id).task_id == task_id
    # Then there is one task, one job and one event
    assert IngestionTask.objects.count() == Job.objects.count() == JobEvent.objects.count() == 1
