"""Draining workers, for the groups that operate. Groups that somebody renamed or removed stay so."""

from importlib import import_module

from django.db import migrations


def add_permission(apps, schema_editor):
    import_module("documents.migrations.0005_groups")._make_permissions(apps)
    permission = apps.get_model("auth", "Permission").objects.get(
        content_type__app_label="queueadmin", codename="drain_worker"
    )
    for group in apps.get_model("auth", "Group").objects.filter(name__in=["Operator", "Administrator"]):
        group.permissions.add(permission)


class Migration(migrations.Migration):
    dependencies = [
        ("documents", "0007_periodic_permissions"),
        ("queueadmin", "0010_drain_workers"),
    ]

    operations = [migrations.RunPython(add_permission, migrations.RunPython.noop)]
