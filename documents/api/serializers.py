"""The shapes of requests and answers. Requests are checked here for shape and size; meaning is the services' affair.

The answers' serializers describe them for the OpenAPI document; `bodies` writes them.
"""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from documents.api.fields import (
    CallbackURL,
    Cursor,
    DocumentKey,
    Id,
    Identifier,
    Instant,
    Languages,
    Metadata,
    Moment,
    PageRange,
    PlainText,
    QueryInteger,
    Queued,
    StateList,
    StateName,
    StrictInteger,
)
from documents.batches import MAX_DOCUMENTS

MAX_PAGE = 200
LONGEST_WAIT = 60
"""Seconds. Most proxies cut a request off that has said nothing for a minute."""
MAX_PRIORITY = 9
MAX_ATTEMPTS = 100
MAX_FILE_SIZE = 2**63 - 1
NO_OBJECT = "This must be a JSON object."


class ReadingOptions(serializers.Serializer[Any]):
    """How to read the document, where that differs from the service's settings. Unknown fields are ignored."""

    default_error_messages = {"invalid": NO_OBJECT}

    languages = Languages(
        required=False, help_text='For text recognition: what tesseract names them, such as ["deu", "eng"].'
    )
    ocr = serializers.ChoiceField(
        choices=["auto", "off", "force"],
        required=False,
        error_messages={"invalid_choice": "ocr must be auto, off or force."},
        help_text="Text recognition: of pictures and pages without text (auto), never, or of every page of a PDF.",
    )


class Submission(serializers.Serializer[Any]):
    """One document to ingest. Unknown fields are ignored."""

    default_error_messages = {"invalid": NO_OBJECT}

    document_id = Identifier(max_length=255, help_text="The document's id on your side; repeated in every answer.")
    user_id = Identifier(max_length=255, help_text="Whose document it is on your side; repeated in every answer.")
    file_name = PlainText(max_length=255, help_text="The document's name; its extension helps to tell its type.")
    r2_key = DocumentKey(help_text="The document's key in the bucket, or its path below the document directory.")
    content_type = PlainText(max_length=255, help_text="The declared media type. The bytes have the last word.")
    file_size = StrictInteger(
        min_value=0, max_value=MAX_FILE_SIZE, required=False, allow_null=True, help_text="Size in bytes, if known."
    )
    callback_url = CallbackURL(
        max_length=2048, required=False, allow_null=True, allow_blank=True, help_text="Where to announce the end."
    )
    priority = StrictInteger(
        min_value=0, max_value=MAX_PRIORITY, required=False, allow_null=True, help_text="From 3 on, to the front."
    )
    metadata = Metadata(required=False, allow_null=True, help_text="Kept with the task; at most 16 KiB.")
    max_attempts = StrictInteger(
        min_value=1,
        max_value=MAX_ATTEMPTS,
        required=False,
        allow_null=True,
        help_text="Attempts that may fail before it is a dead letter; the service's MAX_ATTEMPTS by default.",
    )
    run_at = Moment(
        required=False, allow_null=True, help_text="When to run it first, with an offset; the past means now."
    )
    options = ReadingOptions(required=False, allow_null=True)

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """As Django REST framework has it, without what these fields do not use: half of a batch's time was its."""
        if not isinstance(data, dict):
            self.fail("invalid", datatype=type(data).__name__)
        found, errors = {}, {}
        for name, field in self.fields.items():
            if name not in data and not field.required:
                continue
            try:
                found[name] = field.run_validation(data.get(name, serializers.empty))
            except serializers.ValidationError as error:
                errors[name] = error.detail
        if errors:
            raise serializers.ValidationError(errors)
        return found


class UploadFields(Submission):
    """A submission whose document comes with it."""

    r2_key = None  # type: ignore[assignment]  # how Django REST framework leaves an inherited field out
    file_size = None  # type: ignore[assignment]  # the same


class Upload(UploadFields):
    """A document with its submission, as multipart/form-data: whatever a form says is text."""

    document_id = PlainText(  # type: ignore[assignment]  # narrower than the identifiers of JSON
        max_length=255, help_text="The document's id on your side; repeated in every answer."
    )
    user_id = PlainText(  # type: ignore[assignment]  # narrower than the identifiers of JSON
        max_length=255, help_text="Whose document it is on your side; repeated in every answer."
    )
    file_name = PlainText(max_length=255, required=False, help_text="By default the name that the part has.")
    content_type = PlainText(max_length=255, required=False, help_text="By default the type that the part has.")
    file = serializers.FileField(help_text="The document; at most MAX_DOCUMENT_BYTES.")


class BatchEnvelope(serializers.Serializer[Any]):
    """What a batch has beside its documents."""

    callback_url = CallbackURL(
        max_length=2048,
        required=False,
        allow_null=True,
        allow_blank=True,
        help_text="Where to announce the end.",
    )
    metadata = Metadata(required=False, allow_null=True, help_text="Kept with the batch; at most 16 KiB.")


class BatchSubmission(BatchEnvelope):
    """Documents to ingest together. Unknown fields are ignored."""

    documents = serializers.ListField(
        child=Submission(),
        min_length=1,
        max_length=MAX_DOCUMENTS,
        help_text="Each is judged on its own: one that is refused does not stop the others.",
    )


class AcceptedTask(serializers.Serializer[Any]):
    """A task that is stored and will run."""

    task_id = serializers.UUIDField()
    status = Queued()
    status_url = serializers.CharField(help_text="Path of the task's status on this host.")


class BatchVerdict(serializers.Serializer[Any]):
    """What became of one document of a batch: a task (`task_id`, `status_url`), or a refusal (`code` and the rest)."""

    index = serializers.IntegerField(help_text="Its place in `documents`, from 0.")
    status = serializers.ChoiceField(choices=["queued", "refused"])
    task_id = serializers.UUIDField(required=False)
    status_url = serializers.CharField(required=False)
    code = serializers.CharField(required=False, help_text="The problem's code, as if it had been submitted alone.")
    detail = serializers.CharField(required=False)
    errors = serializers.DictField(  # type: ignore[assignment]  # a field of that name, not the serializer's errors
        child=serializers.ListField(child=serializers.CharField()), required=False, help_text="Field -> sentences."
    )


class AcceptedBatch(serializers.Serializer[Any]):
    """A batch that is stored; the accepted documents will run."""

    batch_id = serializers.UUIDField()
    status = Queued()
    batch_url = serializers.CharField(help_text="Path of the batch on this host.")
    accepted = serializers.IntegerField()
    refused = serializers.IntegerField()
    documents = BatchVerdict(many=True, help_text="In the order of the request.")


class TaskError(serializers.Serializer[Any]):
    """Why the last attempt failed."""

    code = serializers.CharField(help_text="Stable and machine-readable: unsupported_type, damaged, encrypted, …")
    message = serializers.CharField(allow_blank=True)
    retryable = serializers.BooleanField(help_text="Whether the same document may succeed later.")


class ResultSummary(serializers.Serializer[Any]):
    """What was extracted, and where to read it."""

    characters = serializers.IntegerField(allow_null=True)
    pages = serializers.IntegerField(allow_null=True)
    content_type = serializers.CharField(allow_null=True, help_text="The type that the bytes showed.")
    engine = serializers.CharField(allow_null=True)
    sha256 = serializers.CharField(allow_null=True, help_text="Of the document.")
    result_url = serializers.CharField()


class WebhookStatus(serializers.Serializer[Any]):
    """How the delivery of the webhook stands."""

    state = StateName()
    error = TaskError(allow_null=True, help_text="Why the last attempt failed.")


class TaskStatus(serializers.Serializer[Any]):
    """Where a task stands."""

    task_id = serializers.UUIDField()
    status = StateName()
    document_id = serializers.CharField()
    user_id = serializers.CharField()
    file_name = serializers.CharField()
    priority = serializers.IntegerField()
    attempt = serializers.IntegerField(help_text="Attempts begun so far, over all runs.")
    max_attempts = serializers.IntegerField(help_text="Attempts that a run may fail before it is a dead letter.")
    stage = serializers.CharField(allow_null=True, help_text="What the running attempt does now.")
    progress = serializers.FloatField(allow_null=True, min_value=0, max_value=1, help_text="Of the stage.")
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    next_attempt_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(
        allow_null=True, help_text="When result, options and history are removed; null for live tasks and dead letters."
    )
    batch_id = serializers.UUIDField(allow_null=True, help_text="The batch that it was submitted with.")
    error = TaskError(allow_null=True)
    result = ResultSummary(allow_null=True)
    webhook = WebhookStatus(
        allow_null=True,
        help_text="Of the task's last end; null while it goes on, and where neither it nor its tenant names a URL.",
    )


class StateCounts(serializers.Serializer[Any]):
    """Current tasks by state."""

    pending = serializers.IntegerField()
    scheduled = serializers.IntegerField()
    retrying = serializers.IntegerField()
    processing = serializers.IntegerField()
    completed = serializers.IntegerField()
    failed = serializers.IntegerField()
    dead_letter = serializers.IntegerField()
    cancelled = serializers.IntegerField()


class TaskEvent(serializers.Serializer[Any]):
    """One step of a task's life."""

    event = serializers.CharField(
        help_text="submit, claim, complete, retry_later …; docs/state_machine.md has them all."
    )
    attempt = serializers.IntegerField(help_text="Attempts begun so far.")
    at = serializers.DateTimeField()
    seconds_since = serializers.FloatField(allow_null=True, help_text="Since the event before it.")
    detail = serializers.DictField(
        help_text="What is known of it: code, message, reason, content_type, bytes, engine, ms (by stage)."
    )


class TaskEvents(serializers.Serializer[Any]):
    """The history of a task, oldest first; empty once it has been removed."""

    task_id = serializers.UUIDField()
    events = TaskEvent(many=True)


class TaskPage(serializers.Serializer[Any]):
    """Some tasks, newest first."""

    tasks = TaskStatus(many=True)
    next = serializers.CharField(
        allow_null=True, help_text="Path of the next page; null when there is none. A page may be short before that."
    )


class CancelledTask(serializers.Serializer[Any]):
    """A task that has been stopped, or is being stopped."""

    task_id = serializers.UUIDField()
    status = serializers.ChoiceField(
        choices=["cancelled", "cancelling"], help_text="cancelling: its worker stops it within a second or two."
    )
    status_url = serializers.CharField()


class StatusQuery(serializers.Serializer[Any]):
    """How long to wait."""

    wait = QueryInteger(
        min_value=0,
        max_value=LONGEST_WAIT,
        required=False,
        help_text="Seconds: answer when the state has changed, or then.",
    )


class ResultQuery(serializers.Serializer[Any]):
    """Which part of a result."""

    pages = PageRange(required=False, help_text="Pages alone, counted from 1: 3, 3-7 or 3- (to the end).")
    download = serializers.ChoiceField(
        choices=["true", "false"],
        required=False,
        help_text="true: a large text may be a redirect to the bucket, which must be asked without the API key.",
    )


class TaskQuery(serializers.Serializer[Any]):
    """Which tasks to list. What is left out does not narrow."""

    state = StateList(required=False, help_text="One or more states, by commas.")
    error_code = PlainText(
        max_length=64, required=False, help_text="Of tasks that are retrying, failed or dead_letter."
    )
    user_id = PlainText(max_length=255, required=False)
    document_id = PlainText(max_length=255, required=False)
    batch_id = Id(required=False)
    created_from = Instant(required=False, help_text="Submitted then or later.")
    created_to = Instant(required=False, help_text="Submitted before that.")
    limit = QueryInteger(min_value=1, max_value=MAX_PAGE, required=False, help_text="Tasks in a page (50).")
    cursor = Cursor(required=False, help_text="From `next`.")


class BatchStatus(serializers.Serializer[Any]):
    """Where a batch stands."""

    batch_id = serializers.UUIDField()
    status = serializers.ChoiceField(
        choices=["processing", "completed"], help_text="completed: none of its tasks was live any more, for once."
    )
    accepted = serializers.IntegerField()
    refused = serializers.IntegerField()
    progress = serializers.FloatField(min_value=0, max_value=1, help_text="The share of its tasks that have ended.")
    counts = StateCounts(help_text="Its tasks by state.")
    refusals = BatchVerdict(many=True, help_text="The documents that did not become tasks.")
    tasks_url = serializers.CharField(help_text="Path of the list of its tasks.")
    metadata = serializers.DictField()
    created_at = serializers.DateTimeField()
    completed_at = serializers.DateTimeField(allow_null=True)
    webhook = WebhookStatus(
        allow_null=True, help_text="Null until it is completed, and where neither it nor its tenant names a URL."
    )


class CancelledBatch(serializers.Serializer[Any]):
    """Tasks of the batch that are being stopped."""

    batch_id = serializers.UUIDField()
    cancelled = serializers.IntegerField(help_text="Tasks that had not ended.")
    batch_url = serializers.CharField()


class ResultPage(serializers.Serializer[Any]):
    """One page, sheet or slide."""

    number = serializers.IntegerField()
    text = serializers.CharField(allow_blank=True)
    label = serializers.CharField(  # type: ignore[assignment]  # a field of that name, not the serializer's label
        allow_blank=True, required=False
    )


class ResultPages(serializers.Serializer[Any]):
    """What `pages` asked for."""

    page_count = serializers.IntegerField(help_text="Pages of the whole document.")
    pages = ResultPage(many=True, help_text="Those that were asked for.")


class TriedEngine(serializers.Serializer[Any]):
    """One engine that was run on the document."""

    engine = serializers.CharField()
    seconds = serializers.FloatField()
    reason = serializers.CharField(allow_blank=True, help_text="Why it was left; empty: its result was taken.")


class ResultSource(serializers.Serializer[Any]):
    """The file that was read."""

    sha256 = serializers.CharField()
    bytes = serializers.IntegerField()
    declared = serializers.CharField(allow_blank=True, help_text="The media type that was given with the document.")
    named = serializers.CharField(allow_blank=True, help_text="The ending of the file name that was given.")


class TaskResult(serializers.Serializer[Any]):
    """The extracted text, whole and by page, and what is known of the document."""

    text = serializers.CharField(allow_blank=True)
    pages = ResultPage(many=True)
    metadata = serializers.DictField()
    content_type = serializers.CharField()
    engine = serializers.CharField()
    characters = serializers.IntegerField()
    words = serializers.IntegerField()
    warnings = serializers.ListField(child=serializers.CharField())
    markdown = serializers.CharField(allow_blank=True, help_text="Empty where the format has no headings or tables.")
    tried = TriedEngine(many=True, help_text="Every engine that was run, in order.")
    source = ResultSource()  # type: ignore[assignment]  # a field of that name, not where the value comes from


class QueueStatistics(serializers.Serializer[Any]):
    """Ingestion tasks of the key's tenant; of all tenants for the scope operate."""

    pending_tasks = serializers.IntegerField()
    processing_tasks = serializers.IntegerField()
    total_completed = serializers.IntegerField(help_text="Ever; survives the clean-up.")
    total_failed = serializers.IntegerField(help_text="Ever, without dead letters; survives the clean-up.")
    dead_letter_tasks = serializers.IntegerField()
    retrying_tasks = serializers.IntegerField()
    scheduled_tasks = serializers.IntegerField()
    cancelled_tasks = serializers.IntegerField()
    oldest_pending_seconds = serializers.FloatField(allow_null=True)
    queues = serializers.DictField(child=StateCounts(), help_text="Queue name -> current tasks by state.")


class ProblemDocument(serializers.Serializer[Any]):
    """An error (RFC 9457)."""

    type = serializers.CharField(help_text="Path of this kind of problem's description; stable.")
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    instance = serializers.CharField()
    code = serializers.CharField(help_text="The last segment of type.")
    errors = serializers.DictField(  # type: ignore[assignment]  # a field of that name, not the serializer's errors
        child=serializers.ListField(child=serializers.CharField()), required=False, help_text="Field -> sentences."
    )
    state = StateName(required=False, help_text="Where the task stands.")
    documents = BatchVerdict(many=True, required=False, help_text="Why each document of a batch was refused.")
    depth = serializers.IntegerField(required=False, help_text="How many jobs are pending in the queue now.")
    id = serializers.CharField(required=False, help_text="Under which an unexpected failure was logged.")
