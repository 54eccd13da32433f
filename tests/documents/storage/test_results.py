"""The contract of a result store, which the directory and S3 both keep."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import httpx
import pytest

from documents import rendering
from documents.exceptions import InvalidKey, ResultNotFound, StorageUnavailable
from documents.extraction.base import Extraction, Page
from documents.storage import DirectoryResultStore, DirectoryStore, Part, ResultStore, S3Connection, S3ResultStore

TASK = UUID("0199a000-0000-7000-8000-0000000000aa")
OTHER = UUID("0199a000-0000-7000-8000-0000000001aa")


def write(results: ResultStore, task: UUID = TASK, attempt: int = 1, text: bytes = b"text") -> str:
    return results.write(task, attempt, [text[:2], text[2:]])


def read(results: ResultStore, key: str, start: int = 0) -> bytes:
    with results.open(key, start=start) as file:
        return file.read()


def test_a_result_comes_back_as_written(results: ResultStore) -> None:
    key = write(results, text="Grüße".encode())
    assert key == f"{TASK}/1"
    assert read(results, key) == "Grüße".encode()


def test_a_result_can_be_read_in_pieces_and_from_anywhere(results: ResultStore) -> None:
    key = write(results, text=b"abcdef" * 10_000)
    with results.open(key) as file:
        assert file.read(3) == b"abc"
        assert file.read(3) == b"def"
    assert read(results, key, start=59_999) == b"f"


@pytest.mark.parametrize("repeated", [1, 200_000], ids=["short", "long"])
def test_the_json_is_put_together_from_what_is_stored(results: ResultStore, repeated: int) -> None:
    # Given a result of two pages, read back whole or, above a megabyte, in pieces
    pages = tuple(Page(number=number, text='"Grüße"\n' * repeated) for number in (1, 2))
    text = "\n\n".join(page.text for page in pages)
    found = Extraction(text=text, pages=pages, engine="e", content_type="t", markdown="# Grüße\n" * repeated)
    key = results.write(TASK, 1, rendering.stored_chunks(found))
    # When its JSON is asked for
    document = rendering.StoredResult(results, key).document
    data = b"".join(document.chunks)
    # Then it is that of the extraction
    assert data == b"".join(rendering.json_chunks(found))
    assert len(data) == document.size


def test_attempts_do_not_touch_each_other(results: ResultStore) -> None:
    first, second = write(results, attempt=1, text=b"first"), write(results, attempt=2, text=b"second")
    assert (read(results, first), read(results, second)) == (b"first", b"second")


def test_writing_an_attempt_again_replaces_it(results: ResultStore) -> None:
    write(results, text=b"first")
    assert read(results, write(results, text=b"second")) == b"second"


def test_delete_removes_all_attempts_of_one_task_and_may_be_repeated(results: ResultStore) -> None:
    # Given two attempts of one task, and another task whose id ends alike
    key, other = write(results), write(results, task=OTHER)
    write(results, attempt=2)
    # When the first is deleted twice
    assert results.delete(TASK) == 2
    assert results.delete(TASK) == 0
    # Then only the other is there
    with pytest.raises(ResultNotFound):
        results.open(key)
    assert read(results, other) == b"text"


def test_what_is_stored_is_listed_task_by_task_with_size_and_age(results: ResultStore) -> None:
    # Given nothing, Then nothing is listed
    assert list(results.stored()) == []
    # Given results of two tasks, one with two attempts
    before = datetime.now(UTC) - timedelta(seconds=2)  # S3 knows whole seconds
    for task, attempt in ((TASK, 1), (OTHER, 1), (TASK, 2)):
        write(results, task, attempt)
    # Then every object is listed once, those of a task in a row
    listed = list(results.stored())
    assert [one.key for one in listed] == [
        f"{task}/{attempt}"
        for task, attempts in ((TASK, (1, 2)), (OTHER, (1,))) for attempt in attempts
    ]  # fmt: skip
    assert {one.key: one.bytes for one in listed}[f"{OTHER}/1"] == len(b"text")
    assert all(before < one.modified < datetime.now(UTC) + timedelta(seconds=2) for one in listed)


@pytest.mark.parametrize(
    "key", ["", "x", f"{TASK}", f"{TASK}/../1", f"../{TASK}/1", f"{TASK}/1/x", f"{TASK}/01", f"{TASK.hex}/1"]
)
def test_a_key_that_is_not_ours_never_becomes_a_path(results: ResultStore, key: str) -> None:
    with pytest.raises(InvalidKey):
        results.open(key)


def test_a_result_that_fails_half_way_is_not_there(tmp_path: Path) -> None:
    # Given a source of text that breaks off
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    results = DirectoryResultStore(tmp_path / "results")
    # When it is written
    with pytest.raises(StorageUnavailable):
        results.write(TASK, 1, broken())
    # Then no part of it can be read, and nothing is left over
    with pytest.raises(ResultNotFound):
        results.open(f"{TASK}/1")
    assert [path for path in (tmp_path / "results").rglob("*") if path.is_file()] == []


def test_an_attempt_that_is_written_again_and_fails_half_way_leaves_what_was_there(tmp_path: Path) -> None:
    # Given a result, and the source of another that breaks off
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    results = DirectoryResultStore(tmp_path / "results")
    key = write(results, text=b"whole")
    # When it is to replace the first
    with pytest.raises(StorageUnavailable):
        results.write(TASK, 1, broken())
    # Then the first is there, and nothing else
    assert read(results, key) == b"whole"
    assert len([path for path in (tmp_path / "results").rglob("*") if path.is_file()]) == 1


def test_a_place_that_cannot_hold_results_is_worth_another_attempt(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageUnavailable):
        write(DirectoryResultStore(tmp_path / "file" / "results"))


def test_no_document_key_reaches_a_result(tmp_path: Path) -> None:
    # Given the default layout: results beside documents
    (tmp_path / "documents").mkdir()
    results = DirectoryResultStore(tmp_path / "results")
    write(results)
    # Then even a link inside the document directory leads nowhere
    (tmp_path / "documents" / "link").symlink_to(tmp_path / "results")
    store = DirectoryStore(tmp_path / "documents")
    path = next(path for path in (tmp_path / "results").rglob("*.1")).relative_to(tmp_path / "results")
    with pytest.raises(Exception, match="no document"):
        store.download(f"link/{path}", tmp_path / "copy", max_bytes=100)


def test_results_in_s3_need_a_prefix_of_their_own(connection: S3Connection) -> None:
    with pytest.raises(ValueError, match="prefix"):
        S3ResultStore(connection, prefix="/")


# -- links -----------------------------------------------------------------------------------------


def part(**fields: Any) -> Part:
    return Part(**({"name": "txt", "start": 2, "size": 4, "content_type": "text/plain; charset=utf-8"} | fields))


def test_a_directory_gives_no_links(tmp_path: Path) -> None:
    store = DirectoryResultStore(tmp_path)
    assert store.link(write(store), part(), seconds=60) is None


def test_a_link_gives_exactly_its_part_for_a_while_and_goes_with_its_task(connection: S3Connection) -> None:
    # Given
    store = S3ResultStore(connection, prefix="results")
    key = write(store, text=b"0123456789")
    # When
    links = [store.link(key, part(), seconds=60) for _ in range(2)]
    other = store.link(key, part(name="md", start=6, size=4, content_type="text/markdown"), seconds=60)
    # Then
    for link in links:
        assert link is not None
        given = httpx.get(link)
        assert (given.text, given.headers["content-type"]) == ("2345", "text/plain; charset=utf-8")
        query = parse_qs(urlsplit(link).query)
        assert {"Signature", "Expires"} <= set(query) or query["X-Amz-Expires"] == ["60"]
        assert connection.secret_access_key not in link
    assert other is not None
    assert httpx.get(other).text == "6789"
    assert read(store, key) == b"0123456789"
    # And nothing of it outlives the task, nor is any of it a stray object
    assert {found.key.partition("/")[0] for found in store.stored()} == {str(TASK)}
    assert store.delete(TASK) == 3
    assert httpx.get(other).status_code == 404


def test_there_is_no_link_to_what_is_not_there(connection: S3Connection) -> None:
    store = S3ResultStore(connection, prefix="results")
    with pytest.raises(ResultNotFound):
        store.link(f"{TASK}/1", part(), seconds=60)
    with pytest.raises(InvalidKey):
        store.link("../x", part(), seconds=60)
    assert not list(store.stored())
