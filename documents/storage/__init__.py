"""Where documents come from and where results go: two separate places, each in a directory or in S3/R2.

`base` has the contract and the shared download loop, `keys` says what a key may look like, `listing` what is there.
Constructors take explicit arguments; `documents.conf` builds them from settings.
"""

from documents.storage.base import DocumentStore, Downloaded
from documents.storage.directory import DirectoryStore
from documents.storage.keys import normalise_key
from documents.storage.listing import StoredObject
from documents.storage.results import DirectoryResultStore, Part, ResultStore, S3ResultStore
from documents.storage.s3 import S3Connection, S3Store

__all__ = [
    "DirectoryResultStore",
    "DirectoryStore",
    "DocumentStore",
    "Downloaded",
    "Part",
    "ResultStore",
    "S3Connection",
    "S3ResultStore",
    "S3Store",
    "StoredObject",
    "normalise_key",
]
