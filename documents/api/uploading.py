"""Uploads: a document and its submission in one request, streamed to disk and from there to the document store."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import IO, Any, BinaryIO, cast

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, SkipFile, StopUpload
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from drf_spectacular.utils import extend_schema
from rest_framework.parsers import BaseParser, DataAndFiles
from rest_framework.request import Request
from rest_framework.response import Response

from documents import conf, idempotency, uploads
from documents.api import schema
from documents.api.auth import caller_of
from documents.api.base import ApiView, accepted
from documents.api.body import MAX_DEPTH, drain, is_deep
from documents.api.problem import Problem
from documents.api.serializers import AcceptedTask, Upload, UploadFields
from documents.api.submission import request_of
from documents.exceptions import StorageUnavailable
from documents.models import Scope

_fields = UploadFields()
_JSON_FIELDS = ("metadata", "options")
_INTEGER_FIELDS = ("priority", "max_attempts")
_ANY_TYPE = "application/octet-stream"


@contextlib.contextmanager
def _written() -> Iterator[None]:
    """A work directory that is full or read-only is a 503, as a document store that does not answer."""
    try:
        yield
    except OSError as error:
        raise StorageUnavailable(f"The work directory cannot be written ({type(error).__name__}).") from error


class Spool(FileUploadHandler):
    """Writes the part `file` to a nameless file in the work directory, up to the largest document that is read."""

    chunk_size = 256 * 1024

    def __init__(self, request: Any, *, limit: int) -> None:
        super().__init__(request)
        self.limit, self.size, self.files = limit, 0, 0
        self.is_too_large = False
        self._spool: IO[bytes] | None = None
        self.digest = hashlib.sha256()

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self.files += 1
        if self.field_name != "file" or self.files > 1:
            raise SkipFile
        work = conf.work_directory()
        with _written():
            work.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._spool = tempfile.TemporaryFile(dir=work)  # noqa: SIM115  # closed by the view, or when it is dropped

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self.size += len(raw_data)
        if self.size > self.limit:
            self.is_too_large = True
            raise StopUpload(connection_reset=True)
        self.digest.update(raw_data)
        if self._spool is not None:
            with _written():
                self._spool.write(raw_data)

    def file_complete(self, file_size: int) -> UploadedFile[bytes] | None:
        if self._spool is None:
            return None
        with _written():
            self._spool.seek(0)  # writes what is buffered
        return UploadedFile(self._spool, name=self.file_name, content_type=self.content_type, size=self.size)

    def close(self) -> None:
        """Give the file up; for an upload that is refused."""
        if self._spool is not None:
            with contextlib.suppress(OSError):  # a full disk takes what is buffered no better now
                self._spool.close()


class UploadParser(BaseParser):
    """multipart/form-data with one file. Never more of it in memory than a chunk and the other fields."""

    media_type = "multipart/form-data"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Raises Problem: body_too_large, malformed_body, invalid_request."""
        request = (parser_context or {})["request"]
        spool = Spool(request, limit=settings.MAX_DOCUMENT_BYTES)
        _require_fitting(request, stream, limit=spool.limit)
        try:
            return self._parsed(request, stream, spool)
        except BaseException:
            spool.close()
            raise

    def _parsed(self, request: Any, stream: IO[Any], spool: Spool) -> DataAndFiles[Any, Any]:
        try:
            data, files = MultiPartParser(request.META, cast(Any, stream), [spool], "utf-8").parse()
        except MultiPartParserError as error:
            raise Problem("malformed_body", f"The body is not multipart/form-data: {error}.") from None
        if spool.is_too_large:
            drain(stream)
            raise _too_large(spool.limit)
        if spool.files > 1 or (spool.files and "file" not in files):
            sentence = "Send exactly one file, as the part named file."
            raise Problem("invalid_request", "Some fields are invalid; see errors.", errors={"file": [sentence]})
        if "file" in files:
            cast(Any, files["file"]).sha256 = spool.digest.hexdigest()
        return DataAndFiles(data, files)


def _require_fitting(request: Any, stream: IO[Any], *, limit: int) -> None:
    """Refuse what announces more than a document and its fields before it is received. Raises Problem.

    Who waits for "100 Continue" (curl, for what is large) has sent nothing yet, and reading would ask for it.
    """
    if request.META.get("HTTP_TRANSFER_ENCODING"):
        return  # in chunks: nobody knows
    announced = request.META.get("CONTENT_LENGTH") or "0"
    if announced.isdecimal() and int(announced) > limit + settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        if request.META.get("HTTP_EXPECT", "").lower() != "100-continue":
            drain(stream)
        raise _too_large(limit)


def _too_large(limit: int) -> Problem:
    return Problem("body_too_large", f"The document is larger than {limit:,} bytes.")


class UploadDocument(ApiView):
    """Upload a document and submit it."""

    scopes = frozenset({Scope.SUBMIT})
    documents = 1
    parser_classes = [UploadParser]

    @extend_schema(
        operation_id="upload_document",
        summary="Upload and submit a document",
        request={"multipart/form-data": Upload},
        responses={202: AcceptedTask, **schema.problems(400, 401, 403, 405, 409, 413, 415, 422, 500, 503)},
        parameters=[schema.LOCATION, schema.IDEMPOTENCY_KEY, schema.IDEMPOTENCY_REPLAYED],
        examples=[schema.UPLOAD_EXAMPLE],
    )
    def post(self, request: Request) -> Response:
        """Store the document and a task for it; both are durable once this answers 202.

        The document is removed with the task.
        """
        data: Any = request.data
        file = request.FILES.get("file")
        if file is None:
            errors = {"file": ["This part is required."]}
            raise Problem("invalid_request", "Some fields are invalid; see errors.", errors=errors)
        given = _given({name: data.get(name) for name in data if name != "file"}, file)
        tenant, header = caller_of(request).tenant, request.META.get("HTTP_IDEMPOTENCY_KEY")
        said = {**given, "sha256": getattr(file, "sha256", "")}
        with file:
            task = uploads.submit(
                replace(request_of({**given, "r2_key": ""}, tenant=tenant), file_size=file.size),
                cast(BinaryIO, file.file),
                intent=None if header is None else idempotency.intent(tenant, header, said),
            )
        answer = accepted(task.task_id)
        if task.is_replay:
            answer.headers["Idempotency-Replayed"] = "true"
        return answer


def _given(texts: dict[str, Any], file: Any) -> dict[str, Any]:
    """The fields, checked as those of any submission. Forms know only text; empty means left out."""
    fields: dict[str, Any] = {name: value for name, value in texts.items() if value != ""}
    fields.setdefault("file_name", file.name)
    fields.setdefault("content_type", file.content_type or _ANY_TYPE)
    for name in _INTEGER_FIELDS:
        text = fields.get(name)
        if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 20:
            fields[name] = int(text)
    for name in _JSON_FIELDS:
        if name in fields:
            fields[name] = _json(name, fields[name])
    given: dict[str, Any] = _fields.run_validation(fields)
    return given


def _json(name: str, text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        sentence = "This must be JSON."
    else:
        if not is_deep(value, limit=MAX_DEPTH):
            return value
        sentence = f"This is nested more than {MAX_DEPTH} levels deep."
    raise Problem("invalid_request", "Some fields are invalid; see errors.", errors={name: [sentence]})
