"""What the tables promise."""

import pytest

from documents.models import Immutable, IngestionTask
from queueadmin.ids import uuid7

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def test_an_ingestion_task_cannot_be_changed_after_its_insert() -> None:
    # Given
    task = IngestionTask(
        job_id=uuid7(), tenant="default", document_id="d", user_id="u", file_name="f", r2_key="k", content_type="c"
    )
    task.save()
    # When
    task.r2_key = "other"
    with pytest.raises(Immutable):
        task.save()
    # Then
    assert IngestionTask.objects.get(pk=task.pk).r2_key == "k"


def test_a_stored_task_that_was_read_cannot_be_changed_either() -> None:
    task = IngestionTask(job_id=uuid7(), tenant="t", document_id="d", user_id="u", file_name="f", r2_key="k")
    task.save()
    found = IngestionTask.objects.get(pk=task.pk)
    with pytest.raises(Immutable):
        found.save(update_fields=["tenant"])
