"""One document from fetch to stored result. (Being written.)"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from queueadmin.context import JobContext


@dataclass(frozen=True, kw_only=True)
class Document:
    """What to ingest: whose it is, where it lies, and what the client says of it. `file_size` is bytes."""

    tenant: str
    key: str
    file_name: str
    content_type: str
    file_size: int | None = None


def run(document: Document, *, job: JobContext) -> dict[str, Any]:
    raise NotImplementedError
