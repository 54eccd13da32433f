"""Empty the tables after a test that committed. Django's `flush` does it with three times the work of most such tests.

`flush` truncates every table, which makes new files for each of them and each of their indexes, and then makes all
content types and permissions again. Here only tables that have pages are emptied, and what Django makes by itself
after each migration stays: no test changes it.
"""

from functools import cache

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import TransactionTestCase

KEPT = frozenset({"django_content_type", "auth_permission"})
SMALL_BYTES = 64 * 1024
"""Rows are deleted from a table of up to so many bytes. A larger one is truncated, so that dead rows sum up to nothing
and plans stay those of an empty table."""


def empty_quickly() -> None:
    """Make Django empty tables like this from now on."""
    TransactionTestCase._fixture_teardown = _empty_all  # type: ignore[attr-defined]  # Django's own, without a setting


def _empty_all(test: TransactionTestCase) -> None:
    for name in test._databases_names(include_mirrors=False):  # type: ignore[attr-defined]  # as Django's own does
        connection = connections[name]
        statements = _on_postgresql(connection) if connection.vendor == "postgresql" else _on_sqlite(connection)
        # In one transaction: foreign keys are looked at when it ends.
        connection.ops.execute_sql_flush(statements)


@cache
def _tables(vendor: str) -> frozenset[str]:
    return frozenset(connections["default"].introspection.django_table_names()) - KEPT


def _on_postgresql(connection: BaseDatabaseWrapper) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, pg_relation_size(oid) AS bytes FROM pg_class WHERE relkind = 'r'"
            " AND relnamespace = 'public'::regnamespace AND pg_relation_size(oid) > 0"
        )
        sizes = {name: size for name, size in cursor.fetchall() if name in _tables(connection.vendor)}
    large = [f'"{name}"' for name, size in sizes.items() if size > SMALL_BYTES]
    small = [f'DELETE FROM "{name}"' for name, size in sizes.items() if size <= SMALL_BYTES]
    truncate = [f"TRUNCATE {', '.join(large)} CASCADE"] if large else []
    # No foreign key is looked up for each row: every table that refers to another one is emptied as well.
    return ["SET LOCAL session_replication_role = replica", *truncate, *small]


def _on_sqlite(connection: BaseDatabaseWrapper) -> list[str]:
    with connection.cursor() as cursor:
        tables = sorted(_tables(connection.vendor))
        cursor.execute(
            " UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM \"{name}\")" for name in tables)
        )
        return [f'DELETE FROM "{name}"' for (name,) in cursor.fetchall()]
