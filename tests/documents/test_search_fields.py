"""What documents add to the search, as the command line uses it."""

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from documents.api.serializers import TaskQuery
from documents.models import IngestionTask
from queueadmin.ids import uuid7
from queueadmin.management.commands.queue import Command
from tests.documents import factories

pytestmark = pytest.mark.django_db(transaction=True)

OPTIONS = {
    "state": "--state", "error_code": "--error-code", "user_id": "--user", "document_id": "--document",
    "batch_id": "--batch", "created_from": "--since", "created_to": "--until", "limit": "--limit",
}  # fmt: skip
"""Filter of the API's list -> option of `queue list`."""


def listed(*arguments: str) -> list[Any]:
    out = io.StringIO()
    call_command("queue", "list", *arguments, "--json", stdout=out)
    return [job["id"] for job in json.loads(out.getvalue())]


def test_every_filter_of_the_api_is_an_option_of_the_command() -> None:
    assert set(TaskQuery().fields) - {"cursor"} == set(OPTIONS)
    parsed = Command().create_parser("manage.py", "queue").parse_args(["list"])
    assert {option.removeprefix("--").replace("error-code", "error") for option in OPTIONS.values()} <= set(
        vars(parsed)
    )


def test_the_documents_of_a_batch_are_found() -> None:
    # Given two documents of one batch, and another one
    batch = uuid7()
    tasks = [factories.task() for _ in range(3)]
    IngestionTask.objects.filter(pk__in=tasks[:2]).update(batch_id=batch)
    # Then the option and the term find them, whether or not the id has dashes
    assert set(listed("--batch", str(batch))) == set(listed(f"batch:{batch.hex}")) == {str(task) for task in tasks[:2]}
    # And what is no id is said
    with pytest.raises(CommandError, match="That is no id"):
        listed("--batch", "first")
