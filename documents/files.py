"""The document and the result of a task for people in the admin: a preview, and the files themselves."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from documents import conf, rendering, selectors
from documents.exceptions import DocumentError
from documents.models import IngestionTask
from queueadmin import display

PREVIEW_CHARACTERS = 20_000
_FORMS = {"text": ("text/plain; charset=utf-8", "txt"), "markdown": ("text/markdown; charset=utf-8", "md"),
          "json": ("application/json", "json")}  # fmt: skip


@require_safe
def result_page(request: HttpRequest, model_admin: ModelAdmin[Any], task_id: UUID) -> HttpResponse:
    """The beginning of the extracted text, escaped, and links to all of it."""
    task = _task(request, model_admin, task_id)
    try:
        stored = _stored(task)
        preview, is_all = _beginning(stored.text)
    except DocumentError as error:
        return _back(request, task, error)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": display.visible(f"Result of {task.file_name}", limit=200),
        "opts": model_admin.opts, "media": model_admin.media, "task": task, "preview": preview, "is_all": is_all,
        "bytes": stored.text.size, "pages": stored.page_count, "forms": list(_FORMS),
    }  # fmt: skip
    return TemplateResponse(request, "documents/result.html", context)


@require_safe
def result_file(request: HttpRequest, model_admin: ModelAdmin[Any], task_id: UUID, form: str) -> HttpResponseBase:
    """The whole result as text, Markdown or JSON, sent in chunks."""
    if form not in _FORMS:
        raise Http404("There is no such form of a result.")
    task = _task(request, model_admin, task_id)
    try:
        stored = _stored(task)
    except DocumentError as error:
        return _back(request, task, error)
    rendered = {"text": stored.text, "markdown": stored.markdown, "json": stored.document}[form]
    content_type, suffix = _FORMS[form]
    headers = {
        "Content-Length": str(rendered.size), "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="{task.pk}.{suffix}"',
    }  # fmt: skip
    return StreamingHttpResponse(rendered.chunks, content_type=content_type, headers=headers)


@require_safe
def document_file(request: HttpRequest, model_admin: ModelAdmin[Any], task_id: UUID) -> HttpResponseBase:
    """The document as it lies in the store. Never shown by the browser, which would run what is in it."""
    task = _task(request, model_admin, task_id)
    try:
        with tempfile.TemporaryDirectory(prefix="document-") as place:
            path = Path(place) / "document"
            conf.document_store().download(task.r2_key, path, max_bytes=settings.MAX_DOCUMENT_BYTES)
            file = path.open("rb")  # stays readable when its name is gone
    except DocumentError as error:
        return _back(request, task, error)
    response = FileResponse(
        file, as_attachment=True, filename=display.visible(task.file_name, limit=200),
        content_type="application/octet-stream",
    )  # fmt: skip
    response.headers["Cache-Control"] = "no-store"
    return response


def _task(request: HttpRequest, model_admin: ModelAdmin[Any], task_id: UUID) -> IngestionTask:
    """The task, if this person may see it: tasks of other tenants are not there."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    task = model_admin.get_queryset(request).filter(pk=task_id).first()
    if not isinstance(task, IngestionTask):
        raise Http404("There is no such task.")
    return task


def _stored(task: IngestionTask) -> rendering.StoredResult:
    return rendering.StoredResult(conf.result_store(), selectors.result_key(task.pk, tenant=task.tenant))


def _beginning(text: rendering.Rendered) -> tuple[str, bool]:
    """The first characters, and whether that is all of them."""
    read = b""
    for chunk in text.chunks:
        read += chunk
        if len(read) > 4 * PREVIEW_CHARACTERS:
            break
    decoded = read.decode("utf-8", "ignore")
    is_all = len(read) >= text.size and len(decoded) <= PREVIEW_CHARACTERS
    return display.visible(decoded, limit=PREVIEW_CHARACTERS, lines=True), is_all


def _back(request: HttpRequest, task: IngestionTask, error: DocumentError) -> HttpResponse:
    messages.error(request, display.visible(error.message, limit=300))
    return HttpResponseRedirect(reverse("admin:documents_ingestiontask_change", args=[task.pk]))
