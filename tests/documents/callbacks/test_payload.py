"""What a webhook says, and which ending it is about."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from documents.callbacks.payload import Ending, PastEvent, Subject, encode, ending_event

TASK = UUID("0190c8a4-0000-7000-8000-000000000001")
AT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
SUBJECT = Subject(document_id="doc-1", user_id="user-1", file_name="größe.txt", metadata={"case": "7"})


def ending(**fields: Any) -> Ending:
    given: dict[str, Any] = {"task_id": TASK, "state": "completed", "run": 1, "at": AT, "attempt": 2}
    return Ending(**(given | fields))


def event(edge: str, attempt: int = 1) -> PastEvent:
    return PastEvent(edge=edge, attempt=attempt, at=AT, detail={})


def test_a_completed_task_is_announced_with_a_summary_and_a_link_but_never_its_text() -> None:
    result = {"characters": 5, "pages": 1, "content_type": "text/plain", "engine": "text", "sha256": "ab", "key": "k"}
    said = json.loads(encode(ending(result=result), SUBJECT, public_url="https://docs.example"))
    assert said["type"] == "task.completed"
    assert said["timestamp"] == "2026-03-01T12:00:00.123Z"
    assert said["data"]["task_id"] == str(TASK)
    assert said["data"]["metadata"] == {"case": "7"}
    assert said["data"]["error"] is None
    assert said["data"]["result"] == {
        "characters": 5, "pages": 1, "content_type": "text/plain", "engine": "text", "sha256": "ab",
        "result_url": f"https://docs.example/api/documents/task/{TASK}/result",
    }  # fmt: skip


@pytest.mark.parametrize(("state", "retryable"), [("failed", False), ("dead_letter", True)])
def test_an_error_says_its_code_and_whether_trying_again_may_help(state: str, retryable: bool) -> None:
    said = json.loads(encode(ending(state=state, error_code="damaged", error_message="Bad."), SUBJECT))
    assert said["type"] == f"task.{state}"
    assert said["data"]["error"] == {"code": "damaged", "message": "Bad.", "retryable": retryable}
    assert said["data"]["result"] is None


def test_the_body_is_the_same_at_every_attempt() -> None:
    assert encode(ending(), SUBJECT) == encode(ending(), SUBJECT)


def test_each_ending_has_an_id_of_its_own() -> None:
    ids = {ending(state=state, run=run).message_id for state in ("failed", "cancelled") for run in (1, 2)}
    assert len(ids) == 4
    assert not any("." in message_id for message_id in ids)  # the signed content is joined by dots


@pytest.mark.parametrize(
    ("edges", "state", "run", "found"),
    [
        (["submit", "claim", "fail"], "failed", 1, 2),
        (["submit", "claim", "fail", "retry", "claim", "fail"], "failed", 1, 2),
        (["submit", "claim", "fail", "retry", "claim", "fail"], "failed", 2, 5),
        (["submit", "claim", "bury", "discard"], "dead_letter", 1, 2),
        (["submit", "claim", "bury", "discard"], "cancelled", 1, 3),
        (["submit", "claim", "rescue", "claim", "rescue"], "dead_letter", 1, 4),
        (["submit", "claim", "fail"], "completed", 1, None),
        (["submit", "claim", "fail"], "failed", 2, None),
    ],
)
def test_the_history_tells_how_a_run_ended(edges: list[str], state: str, run: int, found: int | None) -> None:
    events = [event(edge) for edge in edges]
    assert ending_event(events, state=state, run=run) is (None if found is None else events[found])
