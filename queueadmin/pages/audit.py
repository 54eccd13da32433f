"""The audit's chain: where it ends, and on demand whether anything in it, or in the operations log, was changed."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest
from django.utils import timezone

from queueadmin import audit as chain

MOST = 200_000
"""Entries that a request walks: a few seconds' work. Longer chains are for `manage.py audit verify`."""
_SHOWN = 50


def audit(request: HttpRequest) -> dict[str, Any]:
    """The head; with `?verify=yes` the whole chain is walked, and an `?anchor=` that was noted must be in it."""
    head = chain.head()
    noted = request.GET.get("anchor", "").strip()[:90]
    shown = {"head": head, "most": MOST, "is_long": head.number > MOST, "anchor": noted}
    if request.GET.get("verify") != "yes" or head.number > MOST:
        return shown
    anchor = None
    if noted:
        anchor = chain.Head.of(noted)
        if anchor is None:
            messages.error(request, "An anchor is NUMBER:HASH, as this page and `manage.py audit head` show it.")
            return shown
    verdict = chain.verify(anchor=anchor)
    problems = verdict.problems
    return shown | {
        "verdict": verdict, "verified_at": timezone.now(), "problems": problems[:_SHOWN],
        "more": max(0, len(problems) - _SHOWN),
    }  # fmt: skip
