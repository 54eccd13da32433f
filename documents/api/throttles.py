"""Throttles as clients see them: `RateLimit-Policy` and `RateLimit`, and 429 with `Retry-After`.

The headers are those of https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ (version 10).
"""

from __future__ import annotations

from rest_framework.request import Request

from documents import throttling
from documents.api.auth import caller_of
from documents.api.problem import Problem
from queueadmin.quotas import Left, Verdict


def spend(request: Request, *, requests: int = 0, documents: int = 0) -> None:
    """Count what this request asks for. Raises Problem (429) when its tenant has used up what it may ask for."""
    verdict = throttling.spend(caller_of(request).tenant, requests=requests, documents=documents)
    if verdict is None:
        return
    told: dict[str, Left] = getattr(request, "rate_limits", {})
    told.update({left.quota.name: left for left in verdict.left})
    request.rate_limits = told  # type: ignore[attr-defined]  # read when the answer is finished
    if not verdict.is_granted:
        raise _refused(verdict)


def headers(request: Request) -> dict[str, str]:
    """What the answer says of the quotas that this request was counted against."""
    told: dict[str, Left] = getattr(request, "rate_limits", {})
    if not told:
        return {}
    return {
        "RateLimit-Policy": ", ".join(
            f'"{left.quota.name}";q={left.quota.amount};w={left.quota.seconds}' for left in told.values()
        ),
        "RateLimit": ", ".join(f'"{name}";r={left.remaining};t={left.reset}' for name, left in told.items()),
    }


def _refused(verdict: Verdict) -> Problem:
    names = [left.quota.name for left in verdict.left if left.remaining < min(left.quota.cost, left.quota.amount)]
    limits = ", ".join(
        f"{left.quota.amount} {left.quota.name} a minute" for left in verdict.left if left.quota.name in names
    )
    problem = Problem(
        "rate_limited",
        f"Your tenant may ask for {limits}. Try again in {verdict.wait} seconds.",
        headers={"Retry-After": str(verdict.wait)},
    )
    problem.members = {"violated-policies": names}
    return problem
