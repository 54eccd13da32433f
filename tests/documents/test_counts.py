"""Counting what has ended no more often than it is worth."""

import pytest

from documents import tenants
from documents.counts import JobCounts
from queueadmin.states import State
from tests.documents.api.tasks import task_in

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

QUEUE = "document_ingestion"


class Clock:
    """Goes on by `step` seconds whenever it is looked at."""

    def __init__(self, *, step: float = 0.0) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_cheap_counts_are_always_new() -> None:
    counts = JobCounts("ingest_document", clock=Clock())
    for n in (1, 2):
        task_in(State.COMPLETED)
        assert counts.of("default")[QUEUE]["completed"] == n


def test_where_counting_is_dear_what_goes_on_is_new_and_what_has_ended_a_little_old() -> None:
    # Given a count that took two seconds
    clock = Clock(step=2)
    counts = JobCounts("ingest_document", clock=clock)
    for state in (State.COMPLETED, State.CANCELLED, State.PENDING, State.FAILED):
        task_in(state)
    assert counts.of("default")[QUEUE]["completed"] == 1
    clock.step = 0
    # When more comes in and ends
    for state in (State.COMPLETED, State.PENDING, State.FAILED):
        task_in(state)
    # Then what goes on is counted at once
    found = counts.of("default")[QUEUE]
    assert (found["pending"], found["failed"], found["cancelled"], found["completed"]) == (2, 1, 1, 1)
    assert set(found) == set(State.values)
    # And what has ended after twenty times as long as it took
    clock.now += 41
    assert counts.of("default")[QUEUE]["completed"] == 2


def test_each_tenant_has_counts_of_its_own() -> None:
    tenants.get_or_create("acme")
    tenants.forget()
    counts = JobCounts("ingest_document", clock=Clock(step=1))
    task_in(State.COMPLETED)
    task_in(State.COMPLETED, tenant="acme", r2_key="acme/x")
    for tenant, n in (("default", 1), ("acme", 1), (None, 2), ("default", 1), (None, 2)):
        assert counts.of(tenant)[QUEUE]["completed"] == n
    assert counts.of("nobody") == {}
    tenants.forget()
