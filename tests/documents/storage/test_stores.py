"""The contract of a document store, which the directory and S3 both keep."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import pytest

from documents.exceptions import (
    DocumentNotFound,
    DocumentTooLarge,
    InvalidKey,
    StorageDenied,
    StorageUnavailable,
    TransferCancelled,
)
from documents.storage import DirectoryStore, DocumentStore, S3Connection, S3Store
from documents.storage.listing import objects_below
from documents.storage.s3 import S3Bucket

BODY = bytes(range(256)) * 4096  # 1 MiB: several chunks


def test_a_stored_document_comes_back_with_size_and_checksum(store: DocumentStore, tmp_path: Path) -> None:
    # Given a document
    store.put("tenant/Grüße.bin", io.BytesIO(BODY))
    # When it is downloaded
    seen: list[tuple[int, int | None]] = []
    target = tmp_path / "copy"
    done = store.download("tenant/Grüße.bin", target, max_bytes=len(BODY), on_progress=lambda *step: seen.append(step))
    # Then the bytes, their number and their checksum are right, and progress was reported
    assert target.read_bytes() == BODY
    assert (done.bytes, done.sha256) == (len(BODY), hashlib.sha256(BODY).hexdigest())
    assert seen[-1] == (len(BODY), len(BODY))
    assert len(seen) > 1


def test_an_empty_document_is_a_document(store: DocumentStore, tmp_path: Path) -> None:
    store.put("empty", io.BytesIO(b""))
    assert store.download("empty", tmp_path / "copy", max_bytes=10).bytes == 0
    assert (tmp_path / "copy").read_bytes() == b""


def test_put_replaces(store: DocumentStore, tmp_path: Path) -> None:
    store.put("key", io.BytesIO(b"first"))
    store.put("key", io.BytesIO(b"second"))
    store.download("key", tmp_path / "copy", max_bytes=10)
    assert (tmp_path / "copy").read_bytes() == b"second"


def test_a_deleted_document_is_gone_and_its_neighbour_is_not(store: DocumentStore, tmp_path: Path) -> None:
    for key in ("below/a", "below/b", "alone/a"):
        store.put(key, io.BytesIO(key.encode()))
    for key in ("below/a", "below/a", "alone/a", "never/was", "below/b/under a file"):
        store.delete(key)
    assert [one.key for one in store.stored("")] == ["below/b"]
    with pytest.raises(DocumentNotFound):
        store.download("below/a", tmp_path / "copy", max_bytes=100)
    with pytest.raises(InvalidKey):
        store.delete("../a")


def test_only_what_lies_below_a_prefix_is_listed(store: DocumentStore) -> None:
    assert list(store.stored("uploads/")) == []
    for key in ("uploads/t/2/b", "uploads/t/1/a", "uploads-of-mine/a", "a"):
        store.put(key, io.BytesIO(b"four"))
    assert [(one.key, one.bytes) for one in store.stored("uploads/")] == [("t/1/a", 4), ("t/2/b", 4)]


def test_a_bucket_is_listed_page_by_page(connection: S3Connection) -> None:
    store = S3Store(connection)
    keys = [f"uploads/{number}" for number in range(5)]
    for key in keys:
        store.put(key, io.BytesIO(b"x"))
    assert [one.key for one in objects_below(S3Bucket(connection), "uploads/", page_size=2)] == list("01234")


@pytest.mark.parametrize("key", ["missing", "deep/below/missing", "file/below"])
def test_a_missing_document_is_not_found_and_leaves_nothing(store: DocumentStore, tmp_path: Path, key: str) -> None:
    store.put("file", io.BytesIO(b"x"))
    target_dir = tmp_path / "target"
    target_dir.mkdir()
    with pytest.raises(DocumentNotFound) as caught:
        store.download(key, target_dir / "copy", max_bytes=10)
    assert (caught.value.code, caught.value.retryable) == ("not_found", False)
    assert list(target_dir.iterdir()) == []


def test_a_document_above_the_limit_is_refused_and_leaves_nothing(store: DocumentStore, tmp_path: Path) -> None:
    store.put("big", io.BytesIO(BODY))
    target_dir = tmp_path / "target"
    target_dir.mkdir()
    with pytest.raises(DocumentTooLarge, match="1,048,575") as caught:
        store.download("big", target_dir / "copy", max_bytes=len(BODY) - 1)
    assert (caught.value.code, caught.value.retryable) == ("too_large", False)
    assert list(target_dir.iterdir()) == []


def test_a_cancelled_download_stops_and_leaves_nothing(store: DocumentStore, tmp_path: Path) -> None:
    store.put("big", io.BytesIO(BODY))
    target_dir = tmp_path / "target"
    target_dir.mkdir()
    seen: list[int] = []
    # When it is cancelled after the first chunk
    with pytest.raises(TransferCancelled):
        store.download(
            "big", target_dir / "copy", max_bytes=len(BODY),
            on_progress=lambda done, total: seen.append(done), cancelled=lambda: bool(seen),
        )  # fmt: skip
    assert 0 < seen[-1] < len(BODY)
    assert list(target_dir.iterdir()) == []


@pytest.mark.parametrize("key", ["/etc/passwd", "../outside", "a/../../outside", "a\0b", "a\\b", ""])
def test_a_bad_key_is_refused_everywhere(store: DocumentStore, tmp_path: Path, key: str) -> None:
    with pytest.raises(InvalidKey):
        store.download(key, tmp_path / "copy", max_bytes=10)
    with pytest.raises(InvalidKey):
        store.put(key, io.BytesIO(b"x"))


def test_check_passes_for_a_store_that_works(store: DocumentStore) -> None:
    store.check()


# -- the directory's own dangers


@pytest.fixture
def directory(tmp_path: Path) -> DirectoryStore:
    root = tmp_path / "documents"
    (root / "inner").mkdir(parents=True)
    (root / "inner" / "real.txt").write_text("inside")
    (tmp_path / "outside.txt").write_text("outside")
    (tmp_path / "documents-sibling").mkdir()
    (tmp_path / "documents-sibling" / "x.txt").write_text("outside")
    return DirectoryStore(root)


@pytest.mark.parametrize("target", ["../outside.txt", "/etc/hostname", "../documents-sibling/x.txt", "loop"])
def test_a_link_that_leaves_the_root_is_not_found(directory: DirectoryStore, tmp_path: Path, target: str) -> None:
    (directory.root / "loop").symlink_to(target)
    with pytest.raises(DocumentNotFound):
        directory.download("loop", tmp_path / "copy", max_bytes=100)


def test_a_linked_directory_that_leaves_the_root_is_not_found(directory: DirectoryStore, tmp_path: Path) -> None:
    (directory.root / "away").symlink_to("../documents-sibling")
    with pytest.raises(DocumentNotFound):
        directory.download("away/x.txt", tmp_path / "copy", max_bytes=100)
    with pytest.raises(StorageDenied):
        directory.put("away/new.txt", io.BytesIO(b"x"))
    assert not (tmp_path / "documents-sibling" / "new.txt").exists()


def test_a_link_inside_the_root_works(directory: DirectoryStore, tmp_path: Path) -> None:
    (directory.root / "alias.txt").symlink_to("inner/real.txt")
    directory.download("alias.txt", tmp_path / "copy", max_bytes=100)
    assert (tmp_path / "copy").read_text() == "inside"


def test_the_root_itself_may_be_a_link(directory: DirectoryStore, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(directory.root)
    DirectoryStore(tmp_path / "linked").download("inner/real.txt", tmp_path / "copy", max_bytes=100)
    assert (tmp_path / "copy").read_text() == "inside"


@pytest.mark.timeout(10)
def test_what_is_not_a_regular_file_is_not_found_and_never_waited_for(
    directory: DirectoryStore, tmp_path: Path
) -> None:
    os.mkfifo(directory.root / "fifo")
    (directory.root / "zero").symlink_to("/dev/zero")
    for key in ("fifo", "inner", "zero"):
        with pytest.raises(DocumentNotFound):
            directory.download(key, tmp_path / "copy", max_bytes=100)


def test_a_missing_root_is_reported_by_check(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable):
        DirectoryStore(tmp_path / "absent").check()


def test_an_interrupted_put_leaves_no_half_file(directory: DirectoryStore) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise ConnectionResetError

    before = sorted(path.name for path in directory.root.rglob("*"))
    with pytest.raises(StorageUnavailable):
        directory.put("new.txt", Broken())
    assert sorted(path.name for path in directory.root.rglob("*")) == before


# -- S3's own


def test_reserved_prefixes_are_invisible(connection: S3Connection, tmp_path: Path) -> None:
    # Given results in the same bucket as documents
    S3Store(connection).put("results/secret.txt", io.BytesIO(b"another tenant's text"))
    guarded = S3Store(connection, reserved_prefixes=("results/",))
    # Then they can neither be submitted nor overwritten; names that only look alike can
    with pytest.raises(DocumentNotFound):
        guarded.download("results/secret.txt", tmp_path / "copy", max_bytes=100)
    with pytest.raises(StorageDenied):
        guarded.put("results/secret.txt", io.BytesIO(b"x"))
    guarded.put("results-2026/x", io.BytesIO(b"x"))
    guarded.download("results-2026/x", tmp_path / "copy", max_bytes=100)


def test_a_missing_bucket_names_the_setting(connection: S3Connection, tmp_path: Path) -> None:
    absent = S3Store(S3Connection(bucket="no-such-bucket", endpoint_url=connection.endpoint_url, region="us-east-1",
                                  access_key_id="test-key", secret_access_key="test-secret"))  # fmt: skip
    with pytest.raises(StorageDenied, match="S3_BUCKET"):
        absent.download("key", tmp_path / "copy", max_bytes=10)


def test_secrets_are_not_in_the_connections_repr() -> None:
    shown = repr(S3Connection(bucket="b", access_key_id="visible-id", secret_access_key="hidden-secret"))
    assert "hidden-secret" not in shown
    assert "visible-id" not in shown
