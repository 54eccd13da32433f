"""Every kind of problem that the API reports. Codes and their URIs are stable: clients branch on them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ProblemType:
    """One kind of problem (RFC 9457). `title` never changes for a code; `advice` says what a client does next."""

    code: str
    status: int
    title: str
    advice: str

    @property
    def uri(self) -> str:
        """Where this service describes it; a path, because a deployment has many names."""
        return f"/problems/{self.code}"


def _type(status: int, code: str, title: str, advice: str) -> ProblemType:
    return ProblemType(status=status, code=code, title=title, advice=advice)


CATALOGUE = (
    _type(
        400,
        "malformed_body",
        "The request body is not usable JSON",
        "Send one JSON object in UTF-8 (RFC 8259): no NaN or Infinity, nested reasonably.",
    ),
    _type(
        400,
        "callback_refused",
        "Webhooks do not go to this URL",
        "Use an http or https URL with a public host on port 80, 443 or above 1023, as `detail` says.",
    ),
    _type(
        400,
        "invalid_request",
        "The request has invalid fields",
        "Correct the fields that `errors` names. Nothing was stored.",
    ),
    _type(
        400,
        "batch_refused",
        "No document of the batch can be accepted",
        "Correct the documents; `documents` says what is wrong with each. Nothing was stored.",
    ),
    _type(
        401,
        "unauthenticated",
        "A valid API key is needed",
        "Send the header `Authorization: Bearer <key>`. Make keys with `manage.py api_key create`.",
    ),
    _type(
        403,
        "missing_scope",
        "The API key lacks a scope",
        "Use a key that has one of the scopes that `detail` names.",
    ),
    _type(
        403,
        "key_not_allowed",
        "The document lies outside the tenant's part of the store",
        "Submit keys below your tenant's prefix only. Whether the document exists was not looked up.",
    ),
    _type(
        403,
        "needs_all_tenants",
        "The API key does not operate for all tenants",
        "Use a key made with `manage.py api_key create NAME --scopes operate --all-tenants`.",
    ),
    _type(403, "forbidden", "This is not allowed", "Ask whoever runs this service."),
    _type(404, "not_found", "There is nothing at this path", "The paths are listed in `/api/docs/`."),
    _type(
        404,
        "task_not_found",
        "There is no such task",
        "Check the id. Another tenant's task and a task whose audit row has been removed are unknown, too.",
    ),
    _type(
        404,
        "batch_not_found",
        "There is no such batch",
        "Check the id. Another tenant's batch and one whose audit row has been removed are unknown, too.",
    ),
    _type(
        404,
        "delivery_not_found",
        "There is no such delivery",
        "Check the id. Another tenant's delivery and one that has been removed are unknown, too.",
    ),
    _type(404, "unknown_queue", "There is no such queue", "`detail` names the queues that there are."),
    _type(405, "method_not_allowed", "The path does not take this method", "Use a method that `Allow` names."),
    _type(
        406,
        "not_acceptable",
        "None of the accepted media types is available",
        "Accept `text/plain`, `text/markdown` or `application/json`.",
    ),
    _type(
        409,
        "not_finished",
        "The task is not finished",
        "Ask again later, after `Retry-After` seconds; `state` says where the task stands.",
    ),
    _type(
        409,
        "no_result",
        "The task ended without a result",
        "Read the task's status for the reason; a retry may help. `state` says how the task ended.",
    ),
    _type(
        409,
        "no_webhook",
        "There is no webhook to deliver",
        "Submit with a `callback_url`, or set the tenant's endpoint; events are about what has ended.",
    ),
    _type(
        409,
        "invalid_transition",
        "The task's state does not allow this",
        "`state` says where the task stands. Failed, dead_letter and cancelled tasks can be retried, "
        "live ones cancelled, ended ones erased.",
    ),
    _type(
        409,
        "depth_changed",
        "The queue holds much more or less than was said",
        "Nothing was purged. Read the queue again, and repeat with the `depth` that it has now.",
    ),
    _type(
        409,
        "submission_in_flight",
        "A submission with this Idempotency-Key is under way",
        "Repeat the request in a moment, with the same key: it then answers with the task.",
    ),
    _type(
        410,
        "result_expired",
        "The result has been removed",
        "Results are kept for a limited time after a task's end. Submit the document again.",
    ),
    _type(
        413,
        "body_too_large",
        "The request body is too large",
        "Submit a large document by reference, and a large batch in parts.",
    ),
    _type(
        415,
        "unsupported_media_type",
        "The request body has the wrong type",
        "Send JSON with the header `Content-Type: application/json`; an upload, `multipart/form-data`.",
    ),
    _type(
        422,
        "idempotency_conflict",
        "The Idempotency-Key belongs to another submission",
        "Use a new key for every new submission; repeat a submission with exactly the body it had.",
    ),
    _type(429, "rate_limited", "Too many requests", "Wait for as many seconds as `Retry-After` says."),
    _type(
        500,
        "internal_error",
        "The service failed",
        "Repeat the request later. If it happens again, report `id`: the log has the reason under it.",
    ),
    _type(
        503,
        "queue_full",
        "The queue is full",
        "Nothing was stored. Submit again after as many seconds as `Retry-After` says.",
    ),
    _type(
        503,
        "unavailable",
        "The service cannot answer now",
        "Its database or its storage does not answer. Repeat after as many seconds as `Retry-After` says.",
    ),
)

BY_CODE = {problem.code: problem for problem in CATALOGUE}
