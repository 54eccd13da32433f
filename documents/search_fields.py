"""What documents add to the filter language of job lists: `document:inv-7 user:ada file~report type:text/html`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from django.db.models import Q

from documents.models import IngestionTask
from queueadmin.ids import first_id_at
from queueadmin.search.fields import Condition, Field, ids, register, register_free_text
from queueadmin.search.query import ROWS, WINDOW


def _requests(lookup: str, values: Sequence[str], now: datetime) -> Q:
    """Jobs whose request has one of the values."""
    return Q(pk__in=IngestionTask.objects.filter(**{f"{lookup}__in": list(values)}).values("pk"))


def _batches(values: Sequence[str], now: datetime) -> Q:
    """Jobs whose document came with one of the batches."""
    return Q(pk__in=IngestionTask.objects.filter(ids("batch_id", values, now)).values("pk"))


def _file_names(values: Sequence[str], now: datetime) -> Q:
    """Of the newest documents of the last days, those whose file name holds the text.

    PostgreSQL would look at the names of a whole week first, whatever else is asked for: 680 ms of a million rows.
    """
    recent = IngestionTask.objects.filter(pk__gte=first_id_at(now - WINDOW))
    floor = recent.order_by("-pk").values_list("pk", flat=True)[ROWS - 1 : ROWS].first()
    if floor is not None:
        recent = recent.filter(pk__gte=floor)
    return Q(pk__in=recent.filter(file_name__icontains=values[0]).values("pk"))


def _words(values: Sequence[str], now: datetime) -> Q:
    return _requests("document_id", values, now) | _requests("user_id", values, now)


def _register(name: str, help: str, conditions: dict[str, Condition], example: str, *, is_indexed: bool) -> None:
    register(Field(name=name, help=help, conditions=conditions, example=example, is_indexed=is_indexed))


_document: dict[str, Condition] = {":": partial(_requests, "document_id")}
_user: dict[str, Condition] = {":": partial(_requests, "user_id")}
_file: dict[str, Condition] = {":": partial(_requests, "file_name"), "~": _file_names}
_type: dict[str, Condition] = {":": partial(_requests, "content_type")}

_register("document", "the document's id", _document, "document:inv-2026-7", is_indexed=True)
_register("user", "the user who submitted it", _user, "user:ada", is_indexed=True)
_register("batch", "the batch that it was submitted with", {":": _batches}, "batch:0199...", is_indexed=True)
_register("file", "the file's name; with ~ part of it, of the newest 50,000", _file, "file~report", is_indexed=False)
_register("type", "the declared content type", _type, "type:application/pdf", is_indexed=False)
register_free_text(_words)
