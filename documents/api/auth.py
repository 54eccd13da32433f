"""Who calls, by `Authorization: Bearer <key>` (RFC 6750), and what the key may do."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from documents import api_keys
from documents.api.problem import CHALLENGE, Problem, unauthenticated
from documents.api_keys import Caller
from documents.models import Scope

if TYPE_CHECKING:
    # Not at run time: Django REST framework's views import this module while they are being imported.
    from rest_framework.views import APIView


class ApiKeyAuthentication(BaseAuthentication):
    """Turns the key into a Caller. Keys in the URL are not taken: URLs end up in logs."""

    def authenticate(self, request: Request) -> tuple[Caller, str] | None:
        header = request.META.get("HTTP_AUTHORIZATION", "")
        scheme, _, key = header.partition(" ")
        if not header:
            return None
        if scheme.lower() != "bearer" or not key.strip():
            raise unauthenticated('The header must read "Authorization: Bearer <key>".')
        return api_keys.recognise(key.strip()), "api_key"

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


class HasScope(BasePermission):
    """Lets a caller pass whose key has one of the view's `scopes`."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not isinstance(request.user, Caller):
            raise unauthenticated("An API key is needed: send Authorization: Bearer <key>.")
        wanted: frozenset[Scope] = view.scopes  # type: ignore[attr-defined]  # every view of ours has it
        if not wanted & caller_of(request).scopes:
            names = " or ".join(sorted(wanted))
            raise Problem("missing_scope", f"This needs an API key with the scope {names}.")
        return True


def caller_of(request: Request) -> Caller:
    """The authenticated caller."""
    return cast(Caller, request.user)
