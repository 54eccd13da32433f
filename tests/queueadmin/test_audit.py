"""The audit's chain: whoever changes what was done, is found out."""

import io
import json
import threading
from collections.abc import Callable

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from queueadmin import audit, operations
from queueadmin.models import AuditEntry, AuditHead, OperationLog
from tests.queueadmin.factories import submitted

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("valkey")]


def operate(times: int = 1, *, by: str = "ada") -> None:
    for _ in range(times):
        operations.cancel([submitted()], by=by, source="cli", reason="no longer wanted")


def test_each_operation_leaves_two_entries_and_the_chain_is_sound() -> None:
    operate(3)
    verdict = audit.verify()
    assert (verdict.entries, verdict.operations, verdict.problems) == (6, 3, ())
    assert [entry.number for entry in audit.entries()] == [1, 2, 3, 4, 5, 6]


def test_an_empty_chain_is_sound() -> None:
    assert audit.verify().problems == ()
    assert str(audit.head()) == f"0:{audit.START}"


def test_an_operation_that_failed_is_in_the_chain_as_well() -> None:
    with pytest.raises(ZeroDivisionError), audited_by_ada():
        raise ZeroDivisionError
    assert json.loads(AuditEntry.objects.get(number=2).content)["outcome"] == "failed"
    assert audit.verify().problems == ()


def audited_by_ada():  # type: ignore[no-untyped-def]  # a context manager of the module under test
    return audit.audited("cancel", "x", 1, by="ada", source="cli", user=None, reason="")


def change_a_row() -> None:
    OperationLog.objects.filter(pk=AuditEntry.objects.get(number=3).operation_id).update(by="mallory")


def change_an_outcome() -> None:
    OperationLog.objects.filter(pk=AuditEntry.objects.get(number=3).operation_id).update(done=99)


def delete_a_row() -> None:
    OperationLog.objects.filter(pk=AuditEntry.objects.get(number=3).operation_id).delete()


def insert_a_row() -> None:
    OperationLog.objects.create(by="mallory", source="cli", operation="cancel", outcome="done")


def change_an_entry() -> None:
    entry = AuditEntry.objects.get(number=3)
    AuditEntry.objects.filter(number=3).update(content=entry.content.replace("ada", "eve"))


def delete_an_entry() -> None:
    AuditEntry.objects.filter(number=3).delete()


def cut_the_end() -> None:
    AuditEntry.objects.filter(number__gte=5).delete()


@pytest.mark.parametrize(
    ("tamper", "complaint"),
    [
        (change_a_row, "was changed: by"),
        (change_an_outcome, "was changed: done"),
        (delete_a_row, "is gone"),
        (insert_a_row, "is not in the chain"),
        (change_an_entry, "Entry 3 was changed"),
        (delete_an_entry, "Entries 3 to 3 are gone"),
        (cut_the_end, "The chain ends at entry 4"),
    ],
)
def test_tampering_is_found(tamper: Callable[[], None], complaint: str) -> None:
    operate(3)
    tamper()
    assert complaint in " ".join(audit.verify().problems)


def test_a_chain_that_was_rewritten_to_its_end_is_found_by_the_head_that_was_noted() -> None:
    # Given a head that was noted elsewhere
    operate(2)
    noted = audit.head()

    # When everything is made again, by somebody who knows how
    for model in (AuditEntry, AuditHead, OperationLog):
        model.objects.all().delete()
    operate(3, by="mallory")

    # Then the chain is sound in itself, and does not hold what was noted
    assert audit.verify().problems == ()
    assert "is not the one that was noted" in " ".join(audit.verify(anchor=noted).problems)


def test_operations_at_once_stand_one_behind_the_other() -> None:
    # When four threads operate at once
    jobs = [[submitted() for _ in range(5)] for _ in range(4)]
    threads = [threading.Thread(target=cancel_each, args=(ids,)) for ids in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    # Then no number is missing and none stands twice
    assert audit.verify().problems == ()
    assert audit.head().number == 40


def cancel_each(ids: list) -> None:  # type: ignore[type-arg]  # of ids
    try:
        for job_id in ids:
            operations.cancel([job_id], by="ada", source="cli")
    finally:
        connection.close()


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("audit", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_verifies_notes_and_exports() -> None:
    operate(2)
    noted = run("head").strip()
    assert "sound: 4 entries of 2 operations" in run("verify", "--anchor", noted)
    assert json.loads(run("verify", "--json"))["head"] == noted
    assert len(run("export").splitlines()) == 4
    assert run("export", "--format", "csv", "--after", "3").splitlines()[0].startswith("number,at")
    change_an_entry()
    with pytest.raises(CommandError, match="not sound"):
        run("verify")
