"""Emptying ended jobs and forgetting slim rows, for any actor. The documents' half has tests of its own."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from queueadmin import lifecycle, retention
from queueadmin.ids import uuid7
from queueadmin.jobs import order_key_now
from queueadmin.models import Job, JobEvent
from queueadmin.states import TERMINAL, State
from tests.queueadmin.factories import job_in

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

AT_ONCE = retention.Ages(completed=0, cancelled=0, failed=0, dead_letter=0)
LATER = datetime.now(UTC) + timedelta(hours=1)
"""An hour from now, when everything that ended has outlived `AT_ONCE`."""


@pytest.mark.parametrize("state", sorted(State))
def test_only_ended_jobs_are_emptied_and_no_state_changes(state: State) -> None:
    job_id, _ = job_in(state)
    list(retention.clean(AT_ONCE, now=LATER))
    job = Job.objects.get(pk=job_id)
    assert job.state == state
    assert (job.cleaned_at is not None) is (state in TERMINAL)
    assert JobEvent.objects.filter(job_id=job_id).exists() is (state not in TERMINAL)


def test_an_emptied_job_cannot_be_queued_again() -> None:
    job_id, _ = job_in(State.FAILED)
    list(retention.clean(AT_ONCE, now=LATER))
    assert lifecycle.retry([job_id], by="ann", order_key=order_key_now()) == []


def test_without_an_age_dead_letters_stay() -> None:
    job_in(State.DEAD_LETTER)
    kept = retention.Ages(completed=0, cancelled=0, failed=0)
    assert list(retention.clean(kept, now=LATER)) == []
    assert retention.expired_count(kept, now=LATER) == 0
    assert retention.expired_count(AT_ONCE, now=LATER) == 1


def test_what_belongs_to_the_row_goes_with_it() -> None:
    # Given an ended job
    job_id, _ = job_in(State.COMPLETED)
    seen: list[tuple[Sequence[uuid.UUID], bool]] = []

    def note(ids: Sequence[uuid.UUID]) -> None:
        seen.append((list(ids), Job.objects.get(pk=job_id).cleaned_at is not None))

    # When it is emptied
    (batch,) = retention.clean(AT_ONCE, within=note, now=LATER)
    # Then the step within saw it, and did not come too late
    assert seen == [([job_id], False)]
    assert (batch.state, batch.ids, batch.events) == ("completed", (job_id,), 3)


def test_a_failure_inside_leaves_the_batch_as_it_was() -> None:
    job_id, _ = job_in(State.COMPLETED)

    def fail(ids: Sequence[uuid.UUID]) -> None:
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        list(retention.clean(AT_ONCE, within=fail, now=LATER))
    assert Job.objects.get(pk=job_id).cleaned_at is None
    assert JobEvent.objects.filter(job_id=job_id).count() == 3


@pytest.mark.parametrize(("seconds_each", "first"), [(0.02, [50, 25, 12, 10, 10]), (0.0, [50, 63, 79, 99, 109])])
def test_batches_are_small_where_the_database_is_slow(seconds_each: float, first: list[int]) -> None:
    # Given many expired jobs, and a database that takes so long for each
    template, _ = job_in(State.COMPLETED)
    job = Job.objects.get(pk=template)
    copies = [Job(**{f.attname: getattr(job, f.attname) for f in Job._meta.concrete_fields}) for _ in range(399)]
    for copy in copies:
        copy.pk = uuid7()
    Job.objects.bulk_create(copies)
    passed = 0.0

    def take_time(ids: Sequence[uuid.UUID]) -> None:
        nonlocal passed
        passed += seconds_each * len(ids)

    # When they are emptied
    sizes = [len(b.ids) for b in retention.clean(AT_ONCE, within=take_time, now=LATER, clock=lambda: passed)]
    # Then batches become smaller down to the least, or larger where it is quick
    assert (sizes[:5], sum(sizes)) == (first, 400)


@pytest.mark.parametrize("state", [State.PENDING, State.SCHEDULED, State.RETRYING, State.PROCESSING, State.DEAD_LETTER])
def test_a_follow_up_that_is_undelivered_protects_its_parent(state: State) -> None:
    parent, _ = job_in(State.COMPLETED)
    job_in(state, parent_id=parent)
    kept = retention.Ages(completed=0, cancelled=0, failed=0)
    assert list(retention.clean(kept, now=LATER)) == []


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.CANCELLED])
def test_a_follow_up_that_has_had_its_say_does_not(state: State) -> None:
    parent, _ = job_in(State.FAILED)
    job_in(state, parent_id=parent)
    assert parent in {job for batch in retention.clean(AT_ONCE, now=LATER) for job in batch.ids}


def test_only_slim_rows_are_forgotten() -> None:
    # Given two rows that are 400 days old by id and times, of which one is slim
    then = datetime.now(UTC) - timedelta(days=400)
    slim, full = (uuid7(int(then.timestamp() * 1000)) for _ in range(2))
    for new_id, emptied in ((slim, then), (full, None)):
        job_id, _ = job_in(State.DEAD_LETTER)
        Job.objects.filter(pk=job_id).update(id=new_id, finished_at=then, cleaned_at=emptied)
    # When rows of more than a year are forgotten
    forgotten = list(retention.forget(older_than_days=365))
    # Then only the slim one is
    assert forgotten == [(slim,)]
    assert list(Job.objects.values_list("pk", flat=True)) == [full]
