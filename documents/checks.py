"""System checks: settings that would only be noticed at the first document, and tools that are missing.

`manage.py check`, and with it the start of every command, asks nothing that takes long; `check --deploy` also asks the
document store, and `check --database default --tag servers`, as the start of every worker, both stores.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Tags, Warning, register

from documents import conf
from documents.exceptions import StorageError
from documents.extraction.inventory import Which, inventory, poorer_formats, unreadable_formats
from documents.storage import DocumentStore, ResultStore
from queueadmin.ids import uuid7
from queueadmin.server_checks import SERVERS


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
    """One message, because every command prints it, about all that is missing."""
    found = inventory(which)
    missing = [one.part for one in found if not one.where]
    if not missing:
        return []
    lost, poorer = unreadable_formats(found), poorer_formats(found)
    told = f"some documents of the types {', '.join(poorer)} will be read less well"
    if lost:
        told = f"documents of the types {', '.join(lost)} cannot be read; {told}"
    return [
        Info(
            f"Not installed: {', '.join(part.name for part in missing)}; {told}.",
            hint="; ".join(dict.fromkeys(part.install for part in missing)) + ". `manage.py engines` tells more.",
            id="documents.I002",
        )
    ]


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


@register(SERVERS, Tags.database, deploy=True)
def check_storage(*, databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Whether documents can be read and results can be written."""
    if databases is None:
        return []
    try:
        return [*store_messages(conf.document_store()), *result_messages(conf.result_store())]
    except OSError as error:  # a directory that cannot be made; the check of directories names it
        return [Warning(f"The stores cannot be opened: {error.strerror}.", id="documents.W002")]


def result_messages(store: ResultStore) -> list[CheckMessage]:
    """A warning when `store` does not take, or does not give up, a small object."""
    probe = uuid7()
    try:
        store.write(probe, 0, [b"written at the start of a worker, to see whether it can be\n"])
        store.delete(probe)
    except StorageError as error:
        return [
            Warning(
                f"The result store cannot be written now: {error}",
                hint="Give the key of S3_ACCESS_KEY_ID s3:PutObject, s3:GetObject, s3:ListBucket and s3:DeleteObject "
                "in S3_BUCKET; without S3_BUCKET, give this user write access below DATA_DIR.",
                id="documents.W002",
            )
        ]
    return []


def _can_be_written(path: Path) -> bool:
    """Whether `path`, or else its nearest existing parent, lets this user make files."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path.is_dir() and os.access(path, os.W_OK | os.X_OK)
