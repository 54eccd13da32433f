"""The page of disabled endpoints, for the groups that see everything. Groups that somebody renamed or removed stay so.

The model came after the migration that made the groups.
"""

from importlib import import_module

from django.db import migrations

ADDED = {
    "Viewer": ["view_disabledendpoint"],
    "Operator": ["view_disabledendpoint"],
    "Administrator": ["view_disabledendpoint", "delete_disabledendpoint"],
}


def add_permissions(apps, schema_editor):
    import_module("documents.migrations.0005_groups")._make_permissions(apps)
    permissions = apps.get_model("auth", "Permission").objects.filter(content_type__app_label="documents")
    for group in apps.get_model("auth", "Group").objects.filter(name__in=ADDED):
        group.permissions.add(*permissions.filter(codename__in=ADDED[group.name]))


class Migration(migrations.Migration):
    dependencies = [("documents", "0009_keys_for_all_tenants")]

    operations = [migrations.RunPython(add_permissions, migrations.RunPython.noop)]
