"""What searches find, on both databases, and what they refuse."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from queueadmin import lifecycle
from queueadmin.ids import uuid7
from queueadmin.search import fields, query
from queueadmin.search.language import SearchError
from queueadmin.search.query import everything, matching
from queueadmin.states import State
from tests.queueadmin.factories import WORKER, claimed, job_in, submitted

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]


def found(text: str) -> set[UUID]:
    """By the bounded and by the unbounded way, which must agree while there are few rows."""
    now = timezone.now()
    bounded = set(matching(text, now=now).jobs.values_list("pk", flat=True))
    assert bounded == set(everything(text, now=now).values_list("pk", flat=True))
    return bounded


def test_each_state_is_found() -> None:
    by_state = {state: job_in(state)[0] for state in State}
    for state, job_id in by_state.items():
        assert found(f"state:{state}") == {job_id}
    assert found("state:failed,pending") == {by_state[State.FAILED], by_state[State.PENDING]}
    assert found("-state:pending") == set(by_state.values()) - {by_state[State.PENDING]}


def test_terms_are_all_to_hold() -> None:
    wanted = submitted(queue="mail", partition_key="acme", priority=7)
    submitted(queue="mail", partition_key="other", priority=7)
    submitted(queue="else", partition_key="acme")
    assert found("queue:mail tenant:acme priority>=5") == {wanted}


def test_errors_are_found_by_code_message_and_fingerprint() -> None:
    failed = submitted()
    outcome = lifecycle.fail(claimed(failed), code="timeout", message="It Timed out.", fingerprint="3f9c" * 4)
    lifecycle.finish([outcome], worker_id=WORKER)
    submitted()
    assert found("error:timeout") == found('error~"timed OUT"') == found("timed") == {failed}
    assert found("fingerprint:3f9c3f9c3f9c3f9c") == found("3f9c3f9c3f9c3f9c") == {failed}
    assert found("error:nothing") == set()


def test_arguments_are_searched_as_text() -> None:
    wanted = submitted(payload={"args": ["report-7.pdf"], "kwargs": {}, "options": {}})
    submitted()
    assert found('args~"report-7"') == {wanted}


def test_ids_are_found_by_field_and_as_free_text() -> None:
    parent = submitted()
    child = submitted(parent_id=parent)
    submitted()
    assert found(f"id:{parent},{child}") == {parent, child}
    assert found(f"parent:{parent}") == {child}
    assert found(str(parent)) == found(parent.hex) == {parent, child}


def test_age_and_creation_go_by_the_id() -> None:
    now_ms = int(timezone.now().timestamp() * 1000)
    old = submitted(id=uuid7(now_ms - 3 * 86_400_000))
    new = submitted()
    assert found("age>2d") == found("created<2d") == {old}
    assert found("age<2d") == found("created>2d") == {new}
    assert found("created>2020-01-01 created<2100-01-01T00:00") == {old, new}


def test_without_a_state_what_no_index_finds_is_looked_for_in_the_last_days_only_and_that_is_said() -> None:
    # Given a job that is older than the window
    old = submitted(
        id=uuid7(int((timezone.now() - query.WINDOW - timedelta(hours=1)).timestamp() * 1000)), queue="mail"
    )

    # Then it is found by what an index finds
    assert matching("age>7d", now=timezone.now()).bound == ""
    assert old in set(matching("state:pending queue:mail", now=timezone.now()).jobs.values_list("pk", flat=True))

    # And a search by queue alone does not find it, and says why
    matches = matching("queue:mail", now=timezone.now())
    assert (matches.jobs.count(), matches.bound) == (0, "the last 7 days")

    # And in the background nothing is left out
    assert everything("queue:mail", now=timezone.now()).get().pk == old


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("colour:red", "no field 'colour'"),
        ("state:done", "no state 'done'"),
        ("state>failed", "cannot be used with"),
        ("age>soon", "no length of time"),
        ("age>999999w", "too long ago"),
        ("created>someday", "no time"),
        ("created>2026-13-45", "no time"),
        ("attempt>many", "no whole number"),
        (f"attempt>{2**64}", "too large"),
        ("id:7", "no id"),
    ],
)
def test_a_search_that_means_nothing_is_refused_with_what_to_write(text: str, complaint: str) -> None:
    with pytest.raises(SearchError, match=complaint):
        matching(text, now=timezone.now())


_names = st.sampled_from([field.name for field in fields.known()] + ["nothing", ""])
_values = st.one_of(st.text(max_size=12), st.integers().map(str), st.dates().map(str), st.sampled_from(State.values))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(_names, st.sampled_from([":", "~", ">", "<", ">=", "<=", ""]), _values), max_size=4))
def test_no_search_is_worse_than_a_complaint(terms: list[tuple[str, str, str]]) -> None:
    text = " ".join(f"{name}{operator}{value}" for name, operator, value in terms)
    try:
        list(matching(text, now=timezone.now()).jobs[:5])
    except SearchError as error:
        assert str(error)
