"""Counters over time: however they are folded and summed up, no total changes."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from queueadmin import minutes, selectors, sql
from queueadmin.models import FailureMinute, FailureTotal, JobMinute, JobTotal, TotalsMark

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db]

AGES = [
    timedelta(), timedelta(minutes=5), timedelta(hours=1), timedelta(days=3), timedelta(days=3, minutes=7),
    timedelta(days=36), timedelta(days=36, hours=5), timedelta(days=80),
]  # fmt: skip


def count(age: timedelta, *, source: int = 11, tenant: str = "t", code: str = "broken") -> None:
    """Two completed jobs and a failed one, `age` ago."""
    minute = timezone.now().replace(second=0, microsecond=0) - age
    JobMinute.objects.create(
        minute=minute, source_id=source, queue="q", actor="act", partition_key=tenant, completed=2, failed=1,
        attempts=3, wait_ms=10,
    )  # fmt: skip
    FailureMinute.objects.create(
        minute=minute, source_id=source, queue="q", actor="act", partition_key=tenant, state="failed",
        error_code=code, fingerprint="f", count=1, example_id=uuid.uuid4(),
    )  # fmt: skip


def failures() -> dict[str, int]:
    rows = sql.query(f"SELECT error_code, SUM(count) AS n FROM {minutes.counted_failures()} c GROUP BY error_code")
    return {row["error_code"]: int(row["n"]) for row in rows}


def test_folding_keeps_every_total_in_fewer_rows() -> None:
    # Given minutes counted by several processes, today and long ago
    for age in AGES:
        for source in (11, 12, 13):
            count(age, source=source)
    # When they are folded, twice
    minutes.fold()
    minutes.fold()
    # Then there are fewer rows and the same totals
    assert JobMinute.objects.count() <= 3 + len(AGES)
    assert FailureMinute.objects.count() <= 3 + len(AGES)
    totals = selectors.totals()
    assert (totals.completed, totals.failed, totals.attempts, totals.wait_ms) == (48, 24, 72, 240)
    assert failures() == {"broken": 24}
    assert all(row.example_id for row in FailureMinute.objects.all())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["fold", "sum_up", "count"]), max_size=8), st.data())
def test_totals_are_the_same_after_any_order_of_folding_and_summing_up(steps: list[str], data: st.DataObject) -> None:
    for model in (JobMinute, FailureMinute, JobTotal, FailureTotal, TotalsMark):
        model.objects.all().delete()
    expected = {"a": 0, "b": 0}
    for age in AGES:
        tenant = data.draw(st.sampled_from(["a", "b"]))
        count(age, tenant=tenant, source=data.draw(st.integers(1, 3)))
        expected[tenant] += 1
    for step in steps:
        if step == "count":  # only the present still counts
            count(timedelta(), tenant="a", source=100 + sum(expected.values()))
            expected["a"] += 1
        else:
            getattr(minutes, step)()
    for tenant, number in expected.items():
        assert selectors.totals("act", tenant).completed == 2 * number
    assert failures() == {"broken": sum(expected.values())}


def test_what_was_summed_up_is_not_read_again() -> None:
    for age in AGES:
        count(age)
    minutes.sum_up()
    mark = TotalsMark.objects.get()
    assert timedelta(minutes=14) < timezone.now() - mark.until < timedelta(minutes=17)
    assert JobTotal.objects.get().completed == 2 * (len(AGES) - 2)
    assert FailureTotal.objects.get().count == len(AGES) - 2


def test_old_failures_are_forgotten_but_stay_in_the_totals() -> None:
    count(timedelta(days=100))
    minutes.sum_up()
    minutes.fold()
    assert not FailureMinute.objects.exists()
    assert failures() == {"broken": 1}
