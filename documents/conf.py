"""What the settings say, as the objects that do the work: stores, sandbox, webhook and retention policy.

Each is made at its first use and kept for the life of the process. Nothing below this layer reads a
setting, but `encryption` its keys.
"""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from django.conf import settings

from documents.extraction.base import Limits, Ocr
from documents.extraction.errors import SandboxUnavailable
from documents.extraction.sandbox import Sandbox
from documents.storage import (
    DirectoryResultStore,
    DirectoryStore,
    DocumentStore,
    ResultStore,
    S3Connection,
    S3ResultStore,
    S3Store,
)

logger = logging.getLogger(__name__)

RESULT_PREFIX = ".ingestion-results"
"""Where results lie in the bucket; documents below it do not exist for clients."""


@dataclass(frozen=True, kw_only=True)
class WebhookPolicy:
    """How webhooks are sent. `secrets` sign, each with a signature of its own, so that they can be rotated.

    `deadline_seconds` covers one attempt from resolving the name to the last byte read; `response_bytes` of the
    answer are kept for the log. `allow_private` lets them go to any address, for tests and closed networks.
    `public_url` is put before the path of the result's URL; without it the payload holds the path alone.
    """

    secrets: tuple[str, ...] = field(repr=False)
    allow_private: bool = False
    deadline_seconds: float = 10.0
    response_bytes: int = 4096
    public_url: str = ""


@dataclass(frozen=True, kw_only=True)
class RetentionPolicy:
    """How long what is kept: completed and cancelled tasks, failed ones (hours), the slim audit row (days)."""

    hours: float
    audit_days: float
    failed_hours: float = 14 * 24

    def failed(self) -> float:
        """Hours that a failed task is kept: at least as long as a completed one."""
        return max(self.hours, self.failed_hours)


@lru_cache(maxsize=1)
def document_store() -> DocumentStore:
    """Where documents are read from: the bucket when one is configured, else the directory."""
    if settings.S3_BUCKET:
        return S3Store(s3_connection(), reserved_prefixes=(RESULT_PREFIX,))
    root = document_directory()
    root.mkdir(parents=True, exist_ok=True)
    return DirectoryStore(root)


def store_kind() -> str:
    """What the document store is, for people."""
    return "S3 bucket" if settings.S3_BUCKET else "directory"


@lru_cache(maxsize=1)
def result_store() -> ResultStore:
    """Where results go: a place that no document key reaches."""
    if settings.S3_BUCKET:
        return S3ResultStore(s3_connection(), prefix=RESULT_PREFIX)
    root = result_directory()
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    return DirectoryResultStore(root)


def document_directory() -> Path:
    """The directory store's root."""
    return Path(settings.DATA_DIR) / "documents"


def result_directory() -> Path:
    """The root of the results kept on disk."""
    return Path(settings.DATA_DIR) / "results"


def work_directory() -> Path:
    """Where documents lie while they are worked on."""
    return Path(settings.DATA_DIR) / "work"


def s3_connection() -> S3Connection:
    """The bucket of the settings."""
    return S3Connection(
        bucket=settings.S3_BUCKET,
        endpoint_url=settings.S3_ENDPOINT_URL,
        region=settings.S3_REGION,
        access_key_id=settings.S3_ACCESS_KEY_ID,
        secret_access_key=settings.S3_SECRET_ACCESS_KEY,
    )


def extraction_limits() -> Limits:
    """What one extraction may use. A page of a scan may take long; the whole document may not."""
    return Limits(
        timeout_seconds=float(settings.EXTRACTION_TIMEOUT_SECONDS),
        file_bytes=max(Limits.file_bytes, settings.MAX_DOCUMENT_BYTES),
        ocr=Ocr(languages=tuple(settings.OCR_LANGUAGES), dpi=settings.OCR_DPI),
    )


def extraction_children(*, cores: int, processes: int) -> int:
    """How many extraction children each of the worker processes of a machine may have.

    Its share of the cores, and at least two where there are two: with one alone a scan that takes minutes would hold up
    all documents that the threads of its process have claimed.
    """
    return min(cores, max(2, -(-cores // processes)))


_sandbox: Sandbox | None = None
_sandbox_lock = threading.Lock()
"""Two documents at once must not make two pools, as lru_cache would let them."""


def sandbox() -> Sandbox:
    """The extraction children of this process, its share of the cores. Made after the fork, at the first use."""
    global _sandbox
    with _sandbox_lock:
        if _sandbox is None:
            work_directory().mkdir(parents=True, exist_ok=True, mode=0o700)
            _sandbox = Sandbox(
                extraction_limits(),
                size=extraction_children(cores=os.cpu_count() or 1, processes=settings.HOST_PROCESSES),
                registry=settings.EXTRACTION_REGISTRY,
                python_path=settings.EXTRACTION_PATH,
                temp_root=work_directory(),
            )
        return _sandbox


def warm_sandbox() -> None:
    """Start the first child and log which protections it was granted; the first document finds it ready."""
    try:
        sandbox().protections()
    except (SandboxUnavailable, OSError) as error:  # OSError: a directory; the check of directories names it
        logger.warning("extraction sandbox cannot start", extra={"error": str(error)})


def close_sandbox() -> None:
    """End the extraction children, if there are any."""
    global _sandbox
    with _sandbox_lock:
        if _sandbox is not None:
            _sandbox.close()
            _sandbox = None


def webhook_policy() -> WebhookPolicy:
    """How this installation sends webhooks."""
    return WebhookPolicy(
        secrets=(settings.WEBHOOK_SECRET,),
        allow_private=settings.WEBHOOK_ALLOW_PRIVATE,
        deadline_seconds=float(settings.WEBHOOK_TIMEOUT_SECONDS),
        public_url=getattr(settings, "PUBLIC_URL", "").rstrip("/"),
    )


def retention_policy() -> RetentionPolicy:
    """How long this installation keeps what."""
    return RetentionPolicy(
        hours=float(settings.TASK_STATUS_EXPIRY_HOURS), audit_days=float(settings.AUDIT_RETENTION_DAYS)
    )
