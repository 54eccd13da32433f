"""What documents add to the pages of their jobs: the request, the result, webhook attempts, options of a retry."""

from __future__ import annotations

import re
from typing import Any

from django import forms

from documents.models import IngestionTask, WebhookAttempt
from queueadmin.models import Job
from queueadmin.panels import JobOptions, Panel, register, register_options

_MAX_ATTEMPTS_SHOWN = 100
_MAX_LANGUAGES = 8
_LANGUAGE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{1,31}")
"""As the API takes them."""


@register("ingest_document")
def request_panels(job: Job) -> list[Panel]:
    """What was asked for, what came of it, and how the end was announced."""
    task = IngestionTask.objects.filter(pk=job.pk).first()
    if task is None:
        return []
    attempts = WebhookAttempt.objects.filter(task_id=job.pk).order_by("-id")[:_MAX_ATTEMPTS_SHOWN]
    return [
        Panel(title="Request", template="documents/request_panel.html", context={"task": task}),
        *_result_panels(job, task),
        Panel(
            title="Webhook attempts",
            template="documents/webhook_panel.html",
            context={"task": task, "attempts": list(attempts)},
        ),
    ]


def _result_panels(job: Job, task: IngestionTask) -> list[Panel]:
    result = job.result
    if not isinstance(result, dict) or "key" not in result:
        return []
    context = {"task": task, "summary": {name: value for name, value in result.items() if name != "key"}}
    return [Panel(title="Extracted text", template="documents/result_panel.html", context=context)]


@register("deliver_webhook")
def delivery_panels(job: Job) -> list[Panel]:
    """The tries of this delivery."""
    if job.parent_id is None:
        return []
    attempts = WebhookAttempt.objects.filter(task_id=job.parent_id, job_id=job.pk)[:_MAX_ATTEMPTS_SHOWN]
    return [Panel(title="Attempts", template="documents/webhook_panel.html", context={"attempts": list(attempts)})]


class ReadingForm(forms.Form):
    """How to read the document: what `options` of a submission say."""

    languages = forms.CharField(
        label="Languages", required=False, max_length=300,
        help_text="For text recognition, as tesseract names them, such as deu eng. Empty: the service's.",
    )  # fmt: skip
    ocr = forms.ChoiceField(
        label="Text recognition", required=False,
        choices=[("", "As the service does it"), ("auto", "Where there is no text"), ("off", "Never"),
                 ("force", "Of every page")],
    )  # fmt: skip

    def clean_languages(self) -> str:
        languages = _split(self.cleaned_data["languages"])
        if len(languages) > _MAX_LANGUAGES:
            raise forms.ValidationError(f"At most {_MAX_LANGUAGES} languages.")
        if wrong := [name for name in languages if not _LANGUAGE.fullmatch(name)]:
            raise forms.ValidationError(f"{wrong[0]!r} is no language as tesseract names it, such as eng or chi_sim.")
        return " ".join(languages)


def _split(text: str) -> list[str]:
    return list(dict.fromkeys(re.split(r"[\s,]+", text.strip()))) if text.strip() else []


def _read(kwargs: dict[str, Any]) -> dict[str, Any]:
    options = kwargs.get("options") or {}
    return {"languages": " ".join(options.get("languages") or ()), "ocr": options.get("ocr") or ""}


def _write(kwargs: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Options that the form does not know stay; none at all is None."""
    others = {name: value for name, value in (kwargs.get("options") or {}).items() if name not in ("languages", "ocr")}
    chosen = {"languages": _split(data["languages"]), "ocr": data["ocr"]}
    options = others | {name: value for name, value in chosen.items() if value}
    return {**kwargs, "options": options or None}


register_options("ingest_document", JobOptions(form=ReadingForm, read=_read, write=_write))
