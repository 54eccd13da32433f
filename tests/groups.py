"""The groups that are shipped, made again: a test that empties all tables takes them along."""

from importlib import import_module
from pkgutil import iter_modules

from django.apps import apps
from django.db.migrations import RunPython


def make_groups() -> None:
    """Run what the migrations of documents do to groups, in their order; each may be run again."""
    migrations = import_module("documents.migrations")
    for name in sorted(module.name for module in iter_modules(migrations.__path__)):
        if name < "0005":
            continue
        for operation in import_module(f"documents.migrations.{name}").Migration.operations:
            if isinstance(operation, RunPython):
                operation.code(apps, None)
