"""Faults of an object store, from a real HTTP server: each becomes the type that decides whether to retry."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from documents.exceptions import (
    DocumentNotFound,
    DocumentTooLarge,
    StorageDenied,
    StorageError,
    StorageUnavailable,
    TransferCancelled,
)
from documents.storage import S3Connection, S3Store
from documents.storage.abandon import unless_cancelled
from tests.documents.storage.conftest import FaultyS3, answer, chunked, silence, stall, trickle


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (answer(500, "InternalError"), StorageUnavailable),
        (answer(503, "SlowDown"), StorageUnavailable),
        (answer(429, "TooManyRequests"), StorageUnavailable),
        (answer(403, "AccessDenied"), StorageDenied),
        (answer(403, "SignatureDoesNotMatch"), StorageDenied),
        (answer(401, "Unauthorized"), StorageDenied),
        (answer(403, "InvalidObjectState"), StorageDenied),
        (answer(404, "NoSuchKey"), DocumentNotFound),
        (answer(404, "NoSuchBucket"), StorageDenied),
        (answer(404, body=b"not even XML"), DocumentNotFound),
        (answer(502, body=b"<html>proxy error</html>"), StorageUnavailable),
        (answer(200, body=b"half", length=1000), StorageUnavailable),
        (silence(1.5), StorageUnavailable),
        (lambda handler: None, StorageUnavailable),
    ],
    ids=["500", "slow-down", "429", "denied", "signature", "401", "archived", "no-key", "no-bucket", "plain-404",
         "proxy", "truncated", "silent", "hang-up"],
)  # fmt: skip
def test_each_fault_becomes_its_type(
    faulty_s3: FaultyS3, tmp_path: Path, behaviour: Callable[[Any], None], expected: type[StorageError]
) -> None:
    faulty_s3.behaviour = behaviour
    with pytest.raises(StorageError) as caught:
        faulty_s3.store().download("key", tmp_path / "copy", max_bytes=1000)
    assert type(caught.value) is expected
    assert caught.value.retryable == (expected is StorageUnavailable)
    # And neither secrets nor the store's own words reach the message, nor half a file the disk
    assert "never-show-this" not in str(caught.value)
    assert "secret detail" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_nobody_listening_is_unavailable(tmp_path: Path, faulty_s3: FaultyS3) -> None:
    store = S3Store(S3Connection(bucket="b", endpoint_url="http://127.0.0.1:9", region="us-east-1",
                                 access_key_id="k", secret_access_key="s", connect_seconds=1, attempts=1))  # fmt: skip
    with pytest.raises(StorageUnavailable):
        store.download("key", tmp_path / "copy", max_bytes=10)


def test_the_limit_holds_for_bytes_read_not_for_announced_ones(faulty_s3: FaultyS3, tmp_path: Path) -> None:
    # Given a body that announces no length
    faulty_s3.behaviour = chunked(b"x" * 5000)
    with pytest.raises(DocumentTooLarge):
        faulty_s3.store().download("key", tmp_path / "copy", max_bytes=4999)
    assert faulty_s3.store().download("key", tmp_path / "copy", max_bytes=5000).bytes == 5000


def test_a_trickling_body_ends_at_the_deadline_of_the_whole_download(faulty_s3: FaultyS3, tmp_path: Path) -> None:
    faulty_s3.behaviour = trickle
    started = time.monotonic()
    with pytest.raises(StorageUnavailable, match=r"0\.6 seconds"):
        faulty_s3.store(download_seconds=0.6).download("key", tmp_path / "copy", max_bytes=10**6)
    assert time.monotonic() - started < 3


def test_a_trickling_body_can_be_cancelled(faulty_s3: FaultyS3, tmp_path: Path) -> None:
    faulty_s3.behaviour = trickle
    started = time.monotonic()
    with pytest.raises(TransferCancelled):
        faulty_s3.store().download(
            "key", tmp_path / "copy", max_bytes=10**6, cancelled=lambda: time.monotonic() - started > 0.4
        )
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("behaviour", [silence(10), stall], ids=["no answer", "half a body"])
def test_a_store_that_says_nothing_does_not_hold_up_a_cancellation(
    faulty_s3: FaultyS3, tmp_path: Path, behaviour: Callable[[Any], None]
) -> None:
    # Given a store that falls silent, and a time-out that is far away
    faulty_s3.behaviour = behaviour
    started = time.monotonic()
    # When the download is cancelled
    with pytest.raises(TransferCancelled):
        faulty_s3.store(read_seconds=8).download(
            "key", tmp_path / "copy", max_bytes=10**6, cancelled=lambda: time.monotonic() - started > 0.4
        )
    # Then nobody waits for the store
    assert time.monotonic() - started < 4


def test_what_arrives_after_a_cancellation_is_removed(tmp_path: Path) -> None:
    # Given a download that is cancelled just before its end, too late for itself to notice
    arrived, ends, removed = tmp_path / "copy", threading.Event(), threading.Event()

    def call() -> None:
        ends.wait(10)
        arrived.write_text("whole")

    def late() -> None:
        arrived.unlink()
        removed.set()

    with pytest.raises(TransferCancelled):
        unless_cancelled(call, cancelled=lambda: True, late=late)
    # When it ends
    ends.set()
    # Then nothing of it stays
    assert removed.wait(10)
    assert not arrived.exists()


def test_a_failed_request_is_repeated_only_as_often_as_allowed(faulty_s3: FaultyS3, tmp_path: Path) -> None:
    faulty_s3.behaviour = answer(500, "InternalError")
    with pytest.raises(StorageUnavailable):
        faulty_s3.store().download("key", tmp_path / "copy", max_bytes=10)
    assert faulty_s3.requests == 1
