"""What needs boto3: making a client, and the translation of what it raises. `s3` imports this at first use."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import boto3
import urllib3.exceptions
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from documents.exceptions import DocumentNotFound, StorageDenied, StorageError, StorageUnavailable

if TYPE_CHECKING:
    from documents.storage.s3 import S3Connection

_ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})
_session_lock = threading.Lock()


@functools.cache
def _session() -> Any:
    """One session for all stores: each new one would read boto3's service descriptions again (0.1 s).

    Sessions are not thread-safe while they make clients, hence the lock around their use; clients are.
    """
    return boto3.session.Session()


def client(connection: S3Connection) -> Any:
    """Make a boto3 client. Without keys, boto3's own chain finds them (environment, instance role)."""
    with _session_lock:
        return _client(_session(), connection)


def _client(session: Any, connection: S3Connection) -> Any:
    return session.client(
        "s3",
        endpoint_url=connection.endpoint_url or None,
        region_name=connection.region or "auto" if connection.endpoint_url else connection.region or None,
        aws_access_key_id=connection.access_key_id or None,
        aws_secret_access_key=connection.secret_access_key or None,
        config=Config(
            connect_timeout=connection.connect_seconds,
            read_timeout=connection.read_seconds,
            retries={"total_max_attempts": connection.attempts, "mode": "standard"},
            max_pool_connections=32,
            tcp_keepalive=True,
            # Stores at an endpoint of their own rarely have a host name for each bucket.
            s3={"addressing_style": "path" if connection.endpoint_url else "auto"},
            # The optional checksums of 2025 are unknown to R2, MinIO and others.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


@contextlib.contextmanager
def errors() -> Iterator[None]:
    """Turn what boto3 and urllib3 raise into our types."""
    try:
        yield
    except ClientError as error:
        raise _translated(error) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise StorageDenied("No credentials for the object store are configured.") from error
    except (BotoCoreError, urllib3.exceptions.HTTPError, OSError) as error:
        raise StorageUnavailable(f"The object store did not answer properly ({type(error).__name__}).") from error


def _translated(error: ClientError) -> StorageError:
    """Map an answer of the store: by its code where that is more exact, else by the HTTP status."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code == "NoSuchBucket":
        return StorageDenied("The configured bucket does not exist. Check S3_BUCKET.")
    if code == "InvalidObjectState":
        return StorageDenied("The document is archived. Restore it in the object store, then retry the task.")
    if code in _ABSENT:
        return DocumentNotFound()
    if status == 429 or status >= 500 or code in ("SlowDown", "RequestTimeout", "RequestTimeTooSkewed"):
        return StorageUnavailable(f"The object store answered {status or code}.")
    if status in (401, 403):
        return StorageDenied()
    if status == 404:
        return DocumentNotFound()
    return StorageUnavailable(f"The object store answered {status} {code}.".replace("  ", " "))
