"""System checks: settings that would only be noticed at the first document, and tools that are missing.

`manage.py check`, and with it the start of every command, asks nothing that takes long; `check --deploy` also asks the
document store.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Tags, Warning, register

from documents import conf
from documents.exceptions import StorageError
from documents.extraction.engines.textract_engine import PACKAGES, TOOLS
from documents.storage import DocumentStore

Which = Callable[[str], str | None]


@register("documents")
def check_directories(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Whether documents and results can lie where the settings say."""
    places = [("work", conf.work_directory(), "documents.E001")]
    if not settings.S3_BUCKET:
        places += [
            ("documents", conf.document_directory(), "documents.E002"),
            ("results", conf.result_directory(), "documents.E003"),
        ]
    return [
        Error(
            f"The directory for {purpose} cannot be written.",
            hint=f"Give this user write access to {path}, or set DATA_DIR to another place.",
            id=check_id,
        )
        for purpose, path, check_id in places
        if not _can_be_written(path)
    ]


@register("documents")
def check_webhooks(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Whether webhooks are open to every address."""
    if not settings.WEBHOOK_ALLOW_PRIVATE:
        return []
    return [
        Info(
            "Webhooks may go to private addresses (WEBHOOK_ALLOW_PRIVATE).",
            hint="Whoever may submit documents can then reach services of your network. Unset it where keys are "
            "given to people you do not trust with that.",
            id="documents.I001",
        )
    ]


@register("documents")
def check_tools(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Which programs are missing, and which documents will fail for it."""
    return missing_tools(shutil.which)


def missing_tools(which: Which) -> list[CheckMessage]:
    """One message, because every command prints it, about all programs that `which` does not find."""
    missing = [tool for tool in PACKAGES if which(tool) is None]
    if not missing:
        return []
    packages = list(dict.fromkeys(PACKAGES[tool] for tool in missing))
    formats = sorted(set().union(*(_formats_of(tool) for tool in missing)))
    return [
        Info(
            f"System packages are missing: some documents of the types {', '.join(formats)} will fail with "
            "missing_dependency or ocr_unavailable.",
            hint=f"apt-get install {' '.join(packages)}",
            id="documents.I002",
        )
    ]


def _formats_of(tool: str) -> set[str]:
    return {name for name, tools in TOOLS.items() if tool in tools} or {"pdf"}


@register(Tags.security, "documents", deploy=True)
def check_stores(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Whether the document store answers, at deployment: it may take seconds."""
    return store_messages(conf.document_store())


def store_messages(store: DocumentStore) -> list[CheckMessage]:
    """A warning when `store` cannot be used now."""
    try:
        store.check()
    except StorageError as error:
        return [
            Warning(
                f"The document store cannot be used now: {error}",
                hint="Check S3_ENDPOINT_URL, S3_BUCKET and the keys, or DATA_DIR.",
                id="documents.W001",
            )
        ]
    return []


def _can_be_written(path: Path) -> bool:
    """Whether `path`, or else its nearest existing parent, lets this user make files."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path.is_dir() and os.access(path, os.W_OK | os.X_OK)
