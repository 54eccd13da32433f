"""Reading query strings: every parameter once, and none that is unknown."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.serializers import Serializer

from documents.api.problem import Problem

_SHOWN_NAMES, _SHOWN_CHARACTERS = 10, 100


def given(request: Request, shape: Serializer[Any]) -> dict[str, Any]:
    """The parameters as `shape` reads them.

    Raises Problem for unknown ones: a filter that is misspelt must not list everything.
    """
    unknown = sorted(set(request.query_params) - set(shape.fields))
    if unknown:
        known = ", ".join(shape.fields)
        sentence = f"There is no such parameter. Known: {known}."
        errors = {name[:_SHOWN_CHARACTERS]: [sentence] for name in unknown[:_SHOWN_NAMES]}
        raise Problem("invalid_request", "Some parameters are invalid; see errors.", errors=errors)
    found: dict[str, Any] = shape.run_validation(flat(request))
    return found


def flat(request: Request) -> dict[str, str]:
    """The parameters, each once: states may come as a list by commas, or one by one."""
    parameters = request.query_params
    return {name: ",".join(values) if name == "state" else values[-1] for name, values in parameters.lists() if values}
