"""Dead letters, which nobody but a person removes: where they are, the oldest with their evidence, all as a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse

from queueadmin import selectors
from queueadmin.exports import download
from queueadmin.models import Job, JobEvent
from queueadmin.states import State
from queueadmin.views.job_operations import JOB_OPERATIONS

_SHOWN = 50
_PAGE = 500
_COLUMNS = (
    "id", "queue", "actor", "tenant", "dead_since", "created_at", "run", "attempts", "failures", "crashes",
    "error_code", "error_message", "fingerprint", "evidence", "arguments",
)  # fmt: skip
_OFFERED = ("retry", "discard")


def dead_letters(request: HttpRequest) -> dict[str, Any] | HttpResponse:
    """Dead letters by queue, the oldest with what they died of; the list itself is a search."""
    depths = selectors.open_depths()
    counts = [(queue, counts[State.DEAD_LETTER]) for queue, counts in depths.items() if counts[State.DEAD_LETTER]]
    oldest = list(_dead().defer("payload", "result").order_by("finished_at")[:_SHOWN])
    evidence = evidence_of([job.pk for job in oldest])
    offered = [JOB_OPERATIONS[name] for name in _OFFERED if request.user.has_perm(JOB_OPERATIONS[name].permission)]
    return {
        "queues": counts,
        "total": sum(count for _, count in counts),
        "oldest": [{"job": job, "evidence": evidence.get(job.pk, {})} for job in oldest],
        "most": _SHOWN,
        "offered": [
            {"operation": one, "url": reverse("admin:queueadmin_job_operate", args=[one.name])} for one in offered
        ],
    }


def export(request: HttpRequest, form: str) -> HttpResponseBase:
    """Every dead letter with its evidence and arguments, the oldest id first."""
    return download("dead-letters", form, _COLUMNS, _rows())


def evidence_of(job_ids: Iterable[UUID]) -> dict[UUID, dict[str, Any]]:
    """What the event says that made each job a dead letter, such as how its process died; without tracebacks."""
    ends = JobEvent.objects.filter(job_id__in=list(job_ids), edge__in=["bury", "rescue"]).order_by("id")
    return {job_id: _told(detail) for job_id, detail in ends.values_list("job_id", "detail")}


def _told(detail: Any) -> dict[str, Any]:
    if not isinstance(detail, dict):
        return {}
    evidence = detail.get("evidence")
    facts = {**detail, **(evidence if isinstance(evidence, dict) else {})}
    left_out = {"code", "message", "traceback", "evidence", "ms", "delay", "tried"}
    return {name: value for name, value in facts.items() if name not in left_out and value not in (None, "")}


def _dead() -> Any:
    return Job.objects.filter(state=State.DEAD_LETTER, cleaned_at=None)


def _rows() -> Iterator[dict[str, Any]]:
    """Page by page along the ids; what dies meanwhile behind the last one is there as well."""
    after = UUID(int=0)
    while page := list(_dead().filter(pk__gt=after).defer("result").order_by("pk")[:_PAGE]):
        evidence = evidence_of([job.pk for job in page])
        yield from (_row(job, evidence.get(job.pk, {})) for job in page)
        after = page[-1].pk


def _row(job: Job, evidence: dict[str, Any]) -> dict[str, Any]:
    payload = job.payload if isinstance(job.payload, dict) else {}
    return {
        "id": str(job.pk), "queue": job.queue, "actor": job.actor, "tenant": job.partition_key,
        "dead_since": job.finished_at, "created_at": job.created_at, "run": job.run, "attempts": job.attempt,
        "failures": job.failures, "crashes": job.crashes, "error_code": job.error_code,
        "error_message": job.error_message, "fingerprint": job.fingerprint, "evidence": evidence,
        "arguments": {"args": payload.get("args", []), "kwargs": payload.get("kwargs", {})},
    }  # fmt: skip
