"""Two versions at once: the previous release's models on the new schema, needing no more than its migrations.

`previous.json` names the previous release's commit or tag, and the last migration of each app in it; change it when a
release is made. The models as they were then write and read the tables as they are now, with their own columns only.
Its processes do so in test_both_releases.py, where the history is at hand.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, models
from django.db.migrations.executor import MigrationExecutor

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

PREVIOUS: dict[str, str] = json.loads(Path(__file__).with_name("previous.json").read_text())["migrations"]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def previous_models() -> list[type[models.Model]]:
    """The models of the previous release."""
    state = MigrationExecutor(connection).loader.project_state(list(PREVIOUS.items()))
    return [model for label in PREVIOUS for model in state.apps.get_app_config(label).get_models()]


def value_of(field: models.Field[Any, Any], number: int) -> Any:
    """Something that the field takes."""
    match field:
        case models.UUIDField() | models.OneToOneField():
            return uuid.UUID(int=number + 1)
        case models.DateTimeField():
            return NOW
        case models.JSONField():
            return {}
        case models.CharField() | models.TextField():
            return f"v{number}"[: field.max_length]
    return number


def row_of(model: type[models.Model], number: int) -> dict[str, Any]:
    """Every column that must be given, as code of that release would."""
    return {
        field.attname: value_of(field, number)
        for field in model._meta.concrete_fields
        if (not field.null and not field.has_default() and not isinstance(field, models.ForeignKey | models.AutoField))
        or isinstance(field, models.OneToOneField)
    }


def test_every_table_takes_the_rows_of_the_previous_release_and_gives_them_back() -> None:
    for number, model in enumerate(previous_models()):
        given = row_of(model, number)
        if any(
            isinstance(field, models.ForeignKey) and not field.null and not field.one_to_one
            for field in model._meta.concrete_fields
        ):
            continue  # what it belongs to is a row of this loop, too; there is nothing of its own to learn
        # When the previous release inserts, changes and reads a row
        made = model._default_manager.create(**given)
        assert model._default_manager.filter(pk=made.pk).update(
            **{k: v for k, v in given.items() if k != made._meta.pk.attname}
        ) in (0, 1)
        # Then all of its columns are there, as it knows them
        again = model._default_manager.values(*(field.attname for field in model._meta.concrete_fields)).get(pk=made.pk)
        assert {name: again[name] for name in given} == given


def test_what_the_previous_release_relies_on_to_be_unique_still_is() -> None:
    """Its upserts name these columns: ON CONFLICT needs a unique index of exactly them."""
    with connection.cursor() as cursor:
        for model in previous_models():
            found = connection.introspection.get_constraints(cursor, model._meta.db_table).values()
            unique = {frozenset(item["columns"]) for item in found if item["unique"]}
            for constraint in model._meta.constraints:
                if isinstance(constraint, models.UniqueConstraint) and constraint.condition is None:
                    names = {model._meta.get_field(name).column for name in constraint.fields}
                    assert names in unique, f"{model._meta.db_table}: {sorted(names)}"
