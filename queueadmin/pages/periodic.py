"""Periodic jobs: what the dispatcher sends by itself, when it did so last, and when it will again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect

from queueadmin import display, operations
from queueadmin import periodic as periodic_jobs
from queueadmin.operations import PeriodicResult, UnknownPeriodic
from queueadmin.pages.base import url
from queueadmin.views.base import who_asks

RUN, PAUSE = "queueadmin.run_periodic", "queueadmin.pause_periodic"


@dataclass(frozen=True, kw_only=True)
class PeriodicOperation:
    """What a button does: its operation, the permission for it, and what is said before and after."""

    label: str
    permission: str
    explanation: str
    act: Callable[..., PeriodicResult]
    done: str
    otherwise: str


OPERATIONS = {
    "run": PeriodicOperation(
        label="Run", permission=RUN, act=operations.run_periodic, otherwise="is under way already",
        explanation="One is sent now; its next regular run stays where it is.", done="is sent",
    ),
    "pause": PeriodicOperation(
        label="Pause", permission=PAUSE, act=operations.pause_periodic, otherwise="was paused already",
        explanation="The dispatcher sends it no more. What is under way goes on.", done="is paused",
    ),
    "resume": PeriodicOperation(
        label="Resume", permission=PAUSE, act=operations.resume_periodic, otherwise="was not paused",
        explanation="The dispatcher sends it again, at once if its time has come meanwhile.",
        done="is sent by itself again",
    ),
}  # fmt: skip


def periodic(request: HttpRequest) -> dict[str, Any] | HttpResponse:
    """GET lists them, with `?actor=…&action=…` a question about one; POST runs, pauses or resumes it."""
    if request.method == "POST":
        return _act(request)
    rows = periodic_jobs.rows()
    return {
        "rows": rows,
        "may_run": request.user.has_perm(RUN),
        "may_pause": request.user.has_perm(PAUSE),
        "asked": _asked(request, {row.actor for row in rows}),
    }


def _asked(request: HttpRequest, known: set[str]) -> dict[str, str] | None:
    """What is asked about, if it exists and this person may do it."""
    actor, action = request.GET.get("actor", ""), request.GET.get("action", "")
    operation = OPERATIONS.get(action)
    if operation is None or actor not in known or not request.user.has_perm(operation.permission):
        return None
    return {"actor": actor, "action": action, "label": operation.label, "explanation": operation.explanation}


def _act(request: HttpRequest) -> HttpResponse:
    operation = OPERATIONS.get(request.POST.get("action", ""))
    needed = {RUN, PAUSE} if operation is None else {operation.permission}
    if not any(request.user.has_perm(permission) for permission in needed):
        raise PermissionDenied
    if operation is None:
        raise Http404("There is no such operation.")
    try:
        result = operation.act(request.POST.get("actor", ""), **who_asks(request))
    except UnknownPeriodic as error:
        raise Http404("There is no such periodic job.") from error
    sentence = f"{result.actor} {operation.done if result.changed else operation.otherwise}."
    (messages.success if result.changed else messages.warning)(request, display.visible(sentence))
    return HttpResponseRedirect(url("periodic"))
