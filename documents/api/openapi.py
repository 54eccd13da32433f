"""What the OpenAPI document says that no endpoint says itself: the forms of fields, keys, headers of every answer.

Everything here registers itself when it is imported, or is named in SPECTACULAR_SETTINGS.
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerFieldExtension

from documents.api.problem import CONTENT_TYPE


class ShownText(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]  # registers itself when declared
    """Lines of text, and URLs, with the pattern that they must match."""

    target_class = "documents.api.fields.PlainText"
    match_subclasses = True

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> Any:
        return self.target.shown()


class ShownKey(ShownText):  # type: ignore[no-untyped-call]  # the same
    """Keys of documents."""

    target_class = "documents.api.fields.DocumentKey"


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # the same
    """The keys of callers."""

    target_class = "documents.api.auth.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key, as `manage.py api_key create NAME --scopes submit,read` prints it.",
        }


_TEXT = {"type": "string"}
_HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {
        "schema": _TEXT,
        "description": "The request's id, yours or a new one; it stands in every log line that the request leads to.",
    },
    "Cache-Control": {"schema": _TEXT, "description": "Answers are one caller's own: no shared cache may keep them."},
    "Allow": {"schema": _TEXT, "description": "The methods that the path takes."},
    "RateLimit-Policy": {
        "schema": _TEXT,
        "description": "The quotas that the request was counted against, where the tenant has any.",
    },
    "RateLimit": {"schema": _TEXT, "description": "What is left of them, and in how many seconds all of it will be."},
    "Retry-After": {"schema": {"type": "integer", "minimum": 0}, "description": "Seconds to wait before asking again."},
    "WWW-Authenticate": {"schema": _TEXT, "description": "The challenge of RFC 6750."},
}
_ALWAYS = ("X-Request-ID", "Cache-Control", "Allow", "RateLimit-Policy", "RateLimit")
_BY_STATUS = {
    "401": ("WWW-Authenticate",),
    "409": ("Retry-After",),
    "429": ("Retry-After",),
    "503": ("Retry-After",),
}


def finish(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """A postprocessing hook of drf-spectacular: what no serializer and no endpoint can say.

    Problems are the same everywhere, so they become components: the document is a third as long.
    """
    components = result["components"]
    for field in components["schemas"]["UploadRequest"]["properties"].values():
        field.pop("nullable", None)  # forms know text and files: what is left out is null
    components["headers"], components["responses"] = _HEADERS, {}
    for operations in result["paths"].values():
        for operation in operations.values():
            answers = operation["responses"]
            for status, answer in answers.items():
                names = (*_ALWAYS, *_BY_STATUS.get(status, ()))
                shared = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
                answer["headers"] = shared | answer.get("headers", {})
                if CONTENT_TYPE in answer.get("content", {}):
                    components["responses"][f"Problem{status}"] = answer
                    answers[status] = {"$ref": f"#/components/responses/Problem{status}"}
    components["responses"] = dict(sorted(components["responses"].items()))
    return result
