"""`/problems/<code>`: where the `type` of a problem leads."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_safe

from documents.api.catalogue import BY_CODE, CATALOGUE, ProblemType
from documents.api.negotiation import choose


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """All kinds of problems."""
    if _wants_json(request):
        return JsonResponse({"problems": [_as_dict(kind) for kind in CATALOGUE]})
    return render(request, "documents/problems.html", {"problems": CATALOGUE, "title": "Problems"})


@require_safe
def page(request: HttpRequest, code: str) -> HttpResponse:
    """One kind of problem: what it means and what to do next."""
    kind = BY_CODE.get(code)
    if kind is None:
        raise Http404
    if _wants_json(request):
        return JsonResponse(_as_dict(kind))
    return render(request, "documents/problems.html", {"problems": [kind], "title": kind.title})


def _wants_json(request: HttpRequest) -> bool:
    return choose(request.META.get("HTTP_ACCEPT", ""), ("text/html", "application/json")) == "application/json"


def _as_dict(kind: ProblemType) -> dict[str, str | int]:
    return {"type": kind.uri, "code": kind.code, "status": kind.status, "title": kind.title, "advice": kind.advice}


urlpatterns = [
    path("", index, name="problems"),
    path("<str:code>", page, name="problem"),
]
