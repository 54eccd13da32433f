"""Documents that come with their submission, for clients without an object store of their own.

They are put into the document store below a prefix of ours, under the id of their task, and removed with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO

from django.conf import settings
from django.db import transaction

from documents import conf, idempotency, services
from documents.exceptions import DocumentError
from documents.services import Accepted, SubmitRequest
from documents.storage.keys import upload_key
from queueadmin.broker import get_ledger_broker
from queueadmin.exceptions import QueueFull
from queueadmin.ids import uuid7

_MAX_NAME_BYTES = 200
_UNSAFE = re.compile(r"[^\w.,()+=@ -]+")


def submit(request: SubmitRequest, file: BinaryIO, *, intent: idempotency.Intent | None = None) -> Accepted:
    """Store the document, then its task. `request.r2_key` is chosen here.

    Raises QueueFull, StorageUnavailable, StorageDenied, IdempotencyConflict, SubmissionInFlight. A document whose task
    was not stored is removed, by the sweep of orphans if not here.
    """
    get_ledger_broker().room.require(settings.QUEUE_NAME)
    if intent is not None:
        with transaction.atomic():
            if (known := idempotency.recall(intent)) is not None:
                return Accepted(task_id=known, is_replay=True)
    task_id = uuid7()
    key = upload_key(request.tenant, task_id, safe_name(request.file_name))
    store = conf.document_store()
    store.put(key, file)
    discard: Callable[[], None] = lambda: store.delete(key)  # noqa: E731  # said twice below
    try:
        accepted = services.submit(replace(request, r2_key=key), intent=intent, task_id=task_id)
    except (DocumentError, QueueFull):
        # Nothing else: after a lost COMMIT reply the task may be there, and needs its document.
        discard()
        raise
    if accepted.is_replay:
        discard()
    return accepted


def safe_name(file_name: str) -> str:
    """The last part of a name, fit for every store and file system; its extension stays."""
    last = re.split(r"[/\\]", file_name)[-1]
    cleaned = _UNSAFE.sub("_", last).strip(" .") or "document"
    stem, dot, extension = cleaned.rpartition(".")
    if not dot or len(extension.encode()) > 20:
        stem, dot, extension = cleaned, "", ""
    room = _MAX_NAME_BYTES - len((dot + extension).encode())
    return stem.encode()[:room].decode(errors="ignore") + dot + extension
