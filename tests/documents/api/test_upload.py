"""POST /api/documents/upload: a document and its submission in one request."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

from documents import conf
from documents.models import IngestionTask
from documents.storage.keys import UPLOAD_PREFIX
from documents.uploads import safe_name
from queueadmin.broker import get_ledger_broker
from queueadmin.models import Job
from queueadmin.room import RoomKeeper
from tests.documents.api.client import PROCESS, Api, assert_problem, submission

pytestmark = pytest.mark.django_db(transaction=True)

UPLOAD = "/api/documents/upload"
FIELDS = {"document_id": "doc-1", "user_id": "user-1"}


class Part:
    """A file as a form sends it."""

    def __init__(self, content: bytes, name: str = "notes.txt", content_type: str = "text/plain") -> None:
        self.content, self.name, self.content_type = content, name, content_type

    def read(self) -> bytes:
        return self.content


def upload(api: Api, content: bytes = b"hello", *, name: str = "notes.txt", key: str = "", **fields: Any) -> Any:
    body = encode_multipart(BOUNDARY, {**FIELDS, "file": Part(content, name), **fields})
    headers = {"Idempotency-Key": key} if key else {}
    return api.post(UPLOAD, body, content_type=MULTIPART_CONTENT, **headers)


def stored() -> list[Path]:
    """The uploads that are in the document store."""
    root = conf.document_directory() / UPLOAD_PREFIX
    return [path for path in root.rglob("*") if path.is_file()]


@pytest.fixture(autouse=True)
def _no_uploads() -> None:
    for path in stored():
        path.unlink()


@pytest.mark.both_databases
def test_an_uploaded_document_is_stored_under_its_task_and_submitted(make_api: Callable[..., Api]) -> None:
    api = make_api("submit", "read", tenant="acme")
    # When
    fields = {"metadata": '{"case": 7}', "options": '{"ocr": "off"}', "priority": "4", "max_attempts": ""}
    response = upload(api, b"x" * 300_000, name="Jahres bericht.pdf", **fields)
    # Then
    assert response.status_code == 202, response.content
    task_id = response.json()["task_id"]
    assert response.headers["Location"] == f"/api/documents/task/{task_id}/status"
    task = IngestionTask.objects.get(pk=task_id)
    assert task.r2_key == f"{UPLOAD_PREFIX}acme/{task_id}/Jahres bericht.pdf"
    assert (task.tenant, task.file_name, task.file_size) == ("acme", "Jahres bericht.pdf", 300_000)
    assert (task.content_type, task.metadata, task.options) == ("text/plain", {"case": 7}, {"ocr": "off"})
    assert Job.objects.get(pk=task_id).priority == 4
    (path,) = stored()
    assert path.read_bytes() == b"x" * 300_000


def test_nobody_else_can_submit_the_upload_of_a_tenant(make_api: Callable[..., Api]) -> None:
    # Given an upload of one tenant
    task_id = upload(make_api("submit", tenant="acme")).json()["task_id"]
    key = IngestionTask.objects.get(pk=task_id).r2_key
    # When others name its key, whoever owns the root
    for tenant in ("default", "other"):
        for name in (key, key.upper()):
            response = make_api("submit", tenant=tenant).post(PROCESS, submission(r2_key=name))
            # Then
            assert_problem(response, 403, "key_not_allowed")


@pytest.mark.both_databases
def test_a_repeated_upload_makes_no_second_task_and_leaves_no_second_document(api: Api) -> None:
    first, again = upload(api, key="upload-1"), upload(api, key="upload-1")
    assert first.json() == again.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert IngestionTask.objects.count() == len(stored()) == 1
    # And other bytes under the same key are another submission
    assert_problem(upload(api, b"other", key="upload-1"), 422, "idempotency_conflict")
    assert len(stored()) == 1


def test_without_room_nothing_is_stored(api: Api) -> None:
    broker = get_ledger_broker()
    usual, broker.room = broker.room, RoomKeeper(limit=0)
    try:
        assert_problem(upload(api), 503, "queue_full")
    finally:
        broker.room = usual
    assert stored() == []


def test_a_document_beyond_the_limit_is_a_413_and_nothing_is_stored(api: Api, settings: Any) -> None:
    settings.MAX_DOCUMENT_BYTES = 1000
    assert_problem(upload(api, b"x" * 100_000), 413, "body_too_large")
    assert upload(api, b"x" * 1000).status_code == 202
    assert len(stored()) == 1


def test_without_a_directory_to_write_to_an_upload_is_a_503(api: Api, settings: Any, tmp_path: Path) -> None:
    # Given a file where the work directory should be
    (tmp_path / "work").write_text("")
    settings.DATA_DIR = tmp_path
    # When / Then
    response = upload(api)
    assert_problem(response, 503, "unavailable")
    assert int(response.headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"document_id": ""}, "document_id"), ({"metadata": "{"}, "metadata"), ({"metadata": "[]"}, "metadata"),
        ({"metadata": "[" * 100_000}, "metadata"), ({"options": '{"ocr": "x"}'}, "options"),
        ({"priority": "high"}, "priority"), ({"priority": "9" * 30}, "priority"),
        ({"max_attempts": "0"}, "max_attempts"),
        ({"callback_url": "ftp://x"}, "callback_url"), ({"file": "no file"}, "file"),
        ({"user_id": "a\x00b"}, "user_id"),
        ({"more": Part(b"x")}, "file"), ({"file": [Part(b"x"), Part(b"y")]}, "file"),
    ],
)  # fmt: skip
def test_what_cannot_be_submitted_is_refused_by_its_name(api: Api, fields: dict[str, Any], field: str) -> None:
    problem = assert_problem(upload(api, **fields), 400, "invalid_request")
    assert list(problem["errors"]) == [field]
    assert stored() == []


def test_what_is_no_form_is_refused(api: Api) -> None:
    assert_problem(api.post(UPLOAD, {}), 415, "unsupported_media_type")
    assert_problem(api.post(UPLOAD, b"x", content_type="multipart/form-data"), 400, "malformed_body")
    assert_problem(api.post(UPLOAD, b"x" * 100, content_type=MULTIPART_CONTENT), 400, "invalid_request")


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a.pdf", "a.pdf"), ("../../etc/passwd", "passwd"), ("C:\\x\\y.doc", "y.doc"), ("..", "document"),
        ("", "document"),
        ("größe.txt", "größe.txt"), ('a"<b>\x00.txt', "a_b_.txt"), ("x" * 300 + ".pdf", "x" * 196 + ".pdf"),
        (".hidden", "hidden"), ("ü" * 300, "ü" * 100),
    ],
)  # fmt: skip
def test_names_become_safe_and_keep_their_extension(name: str, safe: str) -> None:
    assert safe_name(name) == safe
