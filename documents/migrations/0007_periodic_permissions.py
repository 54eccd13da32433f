"""Pausing and running periodic jobs, for the groups that operate. Groups that somebody renamed or removed stay so."""

from importlib import import_module

from django.db import migrations

ADDED = ("pause_periodic", "run_periodic")


def add_permissions(apps, schema_editor):
    import_module("documents.migrations.0005_groups")._make_permissions(apps)
    permissions = apps.get_model("auth", "Permission").objects
    added = permissions.filter(content_type__app_label="queueadmin", codename__in=ADDED)
    for group in apps.get_model("auth", "Group").objects.filter(name__in=["Operator", "Administrator"]):
        group.permissions.add(*added)


class Migration(migrations.Migration):
    dependencies = [
        ("documents", "0006_webhooks_and_rates"),
        ("queueadmin", "0009_queue_and_periodic_controls"),
    ]

    operations = [migrations.RunPython(add_permissions, migrations.RunPython.noop)]
