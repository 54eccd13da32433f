"""Parts of the OpenAPI document that several endpoints share."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse

from documents.api.catalogue import CATALOGUE
from documents.api.problem import CONTENT_TYPE
from documents.api.serializers import ProblemDocument

LOCATION = OpenApiParameter(
    "Location", OpenApiTypes.STR, OpenApiParameter.HEADER, response=[202], description="Path of the task's status."
)

BATCH_LOCATION = OpenApiParameter(
    "Location", OpenApiTypes.STR, OpenApiParameter.HEADER, response=[202], description="Path of the batch."
)

DELIVERY_LOCATION = OpenApiParameter(
    "Location", OpenApiTypes.STR, OpenApiParameter.HEADER, response=[202], description="Path of the delivery."
)

DOWNLOAD_LOCATION = OpenApiParameter(
    "Location",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    response=[307],
    description="Where the bucket gives the text, for 5 minutes, to whoever has this URL.",
)

RETRY_AFTER = OpenApiParameter(
    "Retry-After",
    OpenApiTypes.INT,
    OpenApiParameter.HEADER,
    response=[200],
    description="Seconds after which asking again makes sense; there while the task has not ended.",
)

ETAG = OpenApiParameter(
    "ETag", OpenApiTypes.STR, OpenApiParameter.HEADER, response=[200, 304], description="Names this form of the result."
)

VARY = OpenApiParameter("Vary", OpenApiTypes.STR, OpenApiParameter.HEADER, response=[200, 304], description="`Accept`.")

IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="An `ETag` of before: when the result is still the same one, the answer is a 304 without a body.",
)

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-~]([ -~]*[!-~])?$"},
    OpenApiParameter.HEADER,
    description=(
        "Names the submission, for 24 hours: sent again with the same body it answers with the same task. "
        "1 to 255 printable ASCII characters, unique within the tenant; a UUID is a good choice."
    ),
)

IDEMPOTENCY_REPLAYED = OpenApiParameter(
    "Idempotency-Replayed",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    response=[202],
    description="`true` when an earlier submission with this key had made the task.",
)

PROCESS_EXAMPLE = OpenApiExample(
    "A document in the bucket",
    request_only=True,
    value={
        "document_id": "doc-1",
        "user_id": "user-1",
        "file_name": "report.pdf",
        "r2_key": "reports/report.pdf",
        "content_type": "application/pdf",
        "callback_url": "https://example.org/hooks/documents",
    },
)


BATCH_EXAMPLE = OpenApiExample(
    "Two documents in the bucket",
    request_only=True,
    value={
        "documents": [
            {
                "document_id": "doc-1",
                "user_id": "user-1",
                "file_name": "report.pdf",
                "r2_key": "reports/report.pdf",
                "content_type": "application/pdf",
            },
            {
                "document_id": "doc-2",
                "user_id": "user-1",
                "file_name": "scan.png",
                "r2_key": "scans/scan.png",
                "content_type": "image/png",
                "options": {"languages": ["deu", "eng"]},
            },
        ],
        "callback_url": "https://example.org/hooks/documents",
    },
)


UPLOAD_EXAMPLE = OpenApiExample(
    "A document that comes along",
    request_only=True,
    media_type="multipart/form-data",
    value={
        "file": "Hello, documents",
        "document_id": "doc-1",
        "user_id": "user-1",
        "file_name": "hello.txt",
        "content_type": "text/plain",
        "metadata": {"source": "mail"},
    },
)

ENDPOINT_EXAMPLE = OpenApiExample(
    "A receiver of yours", request_only=True, value={"url": "https://example.org/hooks/documents"}
)

SECRET_EXAMPLE = OpenApiExample("A day for changing over", request_only=True, value={"overlap_hours": 24})

TEST_EXAMPLE = OpenApiExample("To this receiver", request_only=True, value={"url": "https://example.org/hooks/try"})


PAUSE_EXAMPLE = OpenApiExample(
    "While the receiver is moved", request_only=True, value={"reason": "The receiver of the results is being moved."}
)

RESUME_EXAMPLE = OpenApiExample("It has moved", request_only=True, value={"reason": "The receiver has been moved."})

PURGE_EXAMPLE = OpenApiExample(
    "What has been seen to wait", request_only=True, value={"depth": 0, "reason": "Submitted by mistake."}
)

DEAD_LETTERS_EXAMPLE = OpenApiExample(
    "One of them",
    request_only=True,
    value={"ids": ["0199c0de-0000-7000-8000-00000000abcd"], "reason": "The store answers again."},
)


def problems(*statuses: int) -> dict[Any, Any]:
    """The responses of an endpoint that may answer these statuses, each with the codes that share it."""
    return {
        (status, CONTENT_TYPE): OpenApiResponse(ProblemDocument, description=_description(status))
        for status in sorted({*statuses, 429})  # a tenant's quota may be used up whatever it asks for
    }


def _description(status: int) -> str:
    return "; ".join(f"{kind.title} (`{kind.code}`)" for kind in CATALOGUE if kind.status == status)
