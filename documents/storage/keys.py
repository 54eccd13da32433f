"""What a document key may look like: one rule for the API's answer 400, the directory store and S3."""

from __future__ import annotations

import re
from uuid import UUID

from documents.exceptions import InvalidKey

MAX_KEY_BYTES = 1024
"""S3's limit for a key in UTF-8 (Amazon S3 user guide, "Object key names")."""

MAX_SEGMENT_BYTES = 255
"""NAME_MAX of Linux and macOS file systems."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Unicode's categories Cc, Zl and Zp."""

UPLOAD_PREFIX = ".ingestion-uploads/"
"""Where documents lie that came through our own upload endpoint: .ingestion-uploads/<tenant>/<task id>/<file name>.

They are ours to remove with their task; any other document is the client's. So the name is one that no client uses
already: "uploads/" would be, and what a client keeps there must never look like an orphan of ours.
"""


def upload_key(tenant: str, task_id: UUID, file_name: str) -> str:
    """The key of a document that was uploaded for a task."""
    return normalise_key(f"{UPLOAD_PREFIX}{tenant}/{task_id}/{file_name}")


def uploaded_for(key: str) -> UUID | None:
    """The task that an upload belongs to; None for any other key."""
    parts = key.removeprefix(UPLOAD_PREFIX).split("/")
    if not key.startswith(UPLOAD_PREFIX) or len(parts) < 3:
        return None
    try:
        task_id = UUID(parts[1])
    except ValueError:
        return None
    return task_id if str(task_id) == parts[1] else None


def normalise_key(key: str) -> str:
    """Return `key` unchanged if it is a plain relative path, else raise InvalidKey with the reason.

    Nothing is repaired: a key that had to be changed could name another document than the one a check saw, or than
    the one in the bucket. For the same reason Unicode is not normalised.
    """
    problem = _problem(key)
    if problem:
        raise InvalidKey(f"The key {problem}. Use a relative path such as reports/2026/may.pdf.")
    return key


def _problem(key: str) -> str:
    if not key:
        return "is empty"
    try:
        encoded = key.encode()
    except UnicodeEncodeError:
        return "is not valid Unicode"
    if len(encoded) > MAX_KEY_BYTES:
        return f"is longer than {MAX_KEY_BYTES} bytes"
    if _CONTROL.search(key):
        return "contains a control character"
    if "\\" in key:
        return "contains a backslash"
    if key.startswith("/"):
        return "is an absolute path"
    return _segment_problem(key.split("/"))


def _segment_problem(segments: list[str]) -> str:
    if "" in segments:
        return "contains an empty path segment"
    if "." in segments or ".." in segments:
        return 'contains a "." or ".." path segment'
    if any(len(segment.encode()) > MAX_SEGMENT_BYTES for segment in segments):
        return f"has a path segment longer than {MAX_SEGMENT_BYTES} bytes"
    return ""
