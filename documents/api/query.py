"""Reading query strings: every parameter once, and where endpoints list something, none that is unknown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rest_framework.request import Request
from rest_framework.serializers import Serializer

from documents.api.problem import Problem

_SHOWN_NAMES, _SHOWN_CHARACTERS = 10, 100
_LIST = "state"
"""The parameter that may be repeated."""


def given(request: Request, shape: Serializer[Any]) -> dict[str, Any]:
    """The parameters as `shape` reads them.

    Raises Problem for unknown ones: a filter that is misspelt must not list everything.
    """
    unknown = sorted(set(request.query_params) - set(shape.fields))
    if unknown:
        known = ", ".join(shape.fields)
        raise _refused(unknown, f"There is no such parameter. Known: {known}.")
    return known_of(request, shape)


def known_of(request: Request, shape: Serializer[Any]) -> dict[str, Any]:
    """The same for endpoints whose clients have always been free to send other parameters, too.

    Raises Problem for repeated ones: which of them counts would be a guess.
    """
    repeated = [
        name
        for name, values in request.query_params.lists()
        if name in shape.fields and name != _LIST and len(values) > 1
    ]
    if repeated:
        raise _refused(repeated, "This may be given once only.")
    found: dict[str, Any] = shape.run_validation(flat(request))
    return found


def _refused(names: Sequence[str], sentence: str) -> Problem:
    errors = {name[:_SHOWN_CHARACTERS]: [sentence] for name in names[:_SHOWN_NAMES]}
    return Problem("invalid_request", "Some parameters are invalid; see errors.", errors=errors)


def flat(request: Request) -> dict[str, str]:
    """The parameters, each once: states may come as a list by commas, or one by one."""
    parameters = request.query_params
    return {name: ",".join(values) if name == _LIST else values[-1] for name, values in parameters.lists() if values}
