"""System checks that speak before the first document fails."""

from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from documents import checks, conf
from documents.exceptions import DocumentNotFound
from documents.storage import DirectoryResultStore, DirectoryStore, S3Connection, S3ResultStore
from tests.servers import S3Server


def messages(**options: bool) -> list[str]:
    """Ids of what the checks of documents say."""
    return [str(message.id) for message in run_checks(tags=["documents"], **options)]


def test_a_fresh_installation_has_no_errors() -> None:
    assert [found for found in messages() if ".E" in found or ".W" in found] == []


def test_a_place_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    # Given a data directory that is a file
    path = tmp_path / "data"
    path.write_text("not a directory")
    with override_settings(DATA_DIR=path):
        found = checks.check_directories(None)
    # Then each purpose is named, with the path to look at
    assert [str(message.id) for message in found] == ["documents.E001", "documents.E002", "documents.E003"]
    assert str(path) in str(found[0].hint)


def test_with_a_bucket_only_the_work_directory_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("not a directory")
    with override_settings(DATA_DIR=path, S3_BUCKET="b"):
        assert [message.id for message in checks.check_directories(None)] == ["documents.E001"]


def test_missing_programs_are_told_with_their_packages_and_formats_in_one_message() -> None:
    (found,) = checks.missing_tools(lambda program: None)
    assert all(package in str(found.hint) for package in ("tesseract-ocr", "catdoc", "libreoffice-writer", "unrtf"))
    assert "cannot be read" not in found.msg
    assert "png" in found.msg.partition("read less well")[0]  # RapidOCR reads them
    (found,) = checks.missing_tools(lambda program: None if program == "unrtf" else "/usr/bin/x")
    assert str(found.hint).startswith("apt-get install unrtf. ")
    assert ("png" in found.msg, "rtf" in found.msg) == (False, True)
    assert checks.missing_tools(lambda program: f"/usr/bin/{program}") == []


def test_open_webhooks_are_mentioned() -> None:
    with override_settings(WEBHOOK_ALLOW_PRIVATE=True):
        assert "documents.I001" in messages()
    assert "documents.I001" not in messages()


def test_a_store_that_does_not_answer_is_a_warning_at_deployment_only(tmp_path: Path) -> None:
    assert "documents.W001" not in messages(include_deployment_checks=True)
    found = checks.store_messages(DirectoryStore(tmp_path / "nowhere"))
    assert [message.id for message in found] == ["documents.W001"]


@pytest.mark.parametrize(("bucket", "kind"), [("", "DirectoryStore"), ("b", "S3Store")])
def test_the_settings_choose_the_store(bucket: str, kind: str, tmp_path: Path) -> None:
    conf.document_store.cache_clear()
    conf.result_store.cache_clear()
    try:
        with override_settings(S3_BUCKET=bucket, S3_ENDPOINT_URL="http://127.0.0.1:1", DATA_DIR=tmp_path):
            assert type(conf.document_store()).__name__ == kind
            assert type(conf.result_store()).__name__ == kind.replace("Store", "ResultStore")
    finally:
        conf.document_store.cache_clear()
        conf.result_store.cache_clear()


def test_documents_cannot_be_read_from_where_results_lie() -> None:
    # Given both in one bucket, Then the results' prefix is hidden from documents
    conf.document_store.cache_clear()
    try:
        with override_settings(S3_BUCKET="b", S3_ENDPOINT_URL="http://127.0.0.1:1"), pytest.raises(DocumentNotFound):
            conf.document_store().download(f"{conf.RESULT_PREFIX}/x", Path("/nowhere"), max_bytes=1)
    finally:
        conf.document_store.cache_clear()


def test_secrets_stay_out_of_what_is_printed() -> None:
    assert "whsec_" not in repr(conf.webhook_policy())


def test_a_result_store_that_cannot_be_written_is_told_with_what_it_needs(tmp_path: Path) -> None:
    # Given a place that can be written, and one that is a file
    good = DirectoryResultStore(tmp_path / "results")
    (tmp_path / "file").touch()
    # When / Then: nothing is left of the try
    assert checks.result_messages(good) == []
    assert [path for path in (tmp_path / "results").rglob("*") if path.is_file()] == []
    (found,) = checks.result_messages(DirectoryResultStore(tmp_path / "file"))
    assert found.id == "documents.W002"
    assert "write access below DATA_DIR" in str(found.hint)


def test_a_bucket_that_does_not_exist_is_told_by_the_check_of_servers(s3_server: S3Server) -> None:
    # Given
    bucket = S3Connection(
        bucket="nowhere", endpoint_url=s3_server.url, region=s3_server.region,
        access_key_id=s3_server.access_key_id, secret_access_key=s3_server.secret_access_key,
    )  # fmt: skip
    # When / Then
    (found,) = checks.result_messages(S3ResultStore(bucket, prefix="results"))
    assert "bucket does not exist" in found.msg
    assert "s3:PutObject" in str(found.hint)
