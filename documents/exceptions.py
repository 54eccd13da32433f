"""What can go wrong with a document, as types.

The queue layer decides by two class attributes and never by text: `code` (stable, machine readable, part of
the API) and `retryable` (may the same input succeed later without anyone changing it?). The first paragraph of
the docstring is the default message; it is read by people and holds neither secrets nor document text.
Imports nothing, so the extraction child can use it without Django.
"""

from __future__ import annotations

import inspect


class DocumentError(Exception):
    """The document could not be processed."""

    code: str = "document_error"
    retryable: bool = False

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.default_message())

    @classmethod
    def default_message(cls) -> str:
        """Return the first paragraph of the class's docstring on one line."""
        paragraph = inspect.cleandoc(cls.__doc__ or cls.__name__).split("\n\n")[0]
        return " ".join(paragraph.split())

    @property
    def message(self) -> str:
        """The sentence for a person."""
        return str(self)


class StorageError(DocumentError):
    """The document store could not do what was asked."""

    code = "storage_error"


class InvalidKey(StorageError):
    """The key is not a plain relative path such as "reports/2026/may.pdf"."""

    code = "invalid_key"


class DocumentNotFound(StorageError):
    """There is no document under this key. Check the key, upload the document, then retry the task."""

    code = "not_found"


class DocumentTooLarge(StorageError):
    """The document is larger than this service accepts."""

    code = "too_large"

    def __init__(self, message: str = "", *, limit: int | None = None) -> None:
        if not message and limit is not None:
            message = f"The document is larger than the {limit:,} bytes this service accepts."
        super().__init__(message)
        self.limit = limit


class StorageDenied(StorageError):
    """The store refused access. Check the credentials and the bucket's policy."""

    code = "storage_denied"


class StorageUnavailable(StorageError):
    """The store did not answer properly. The task is tried again later."""

    code = "storage_unavailable"
    retryable = True


class TransferCancelled(StorageError):
    """The transfer was cancelled."""

    code = "cancelled"


class ResultNotFound(StorageError):
    """The stored result does not exist any more."""

    code = "result_not_found"
