"""The groups that are shipped. Whoever changed one of them keeps the change: only what is missing is made."""

from django.contrib.auth.management import create_permissions
from django.db import migrations
from django.db.models import Q

APPS = ["queueadmin", "documents"]
OPERATE = [
    "retry_job",
    "cancel_job",
    "discard_job",
    "reprioritise_job",
    "pause_queue",
    "limit_queue",
]
TENANT_VIEWER = ["view_own_ingestiontask"]


def make_groups(apps, schema_editor):
    _make_permissions(apps)
    groups = apps.get_model("auth", "Group").objects
    permissions = apps.get_model("auth", "Permission").objects
    ours = permissions.filter(content_type__app_label__in=APPS).exclude(codename__in=TENANT_VIEWER)
    view = Q(codename__startswith="view_")
    for name, allowed in {
        "Viewer": ours.filter(view),
        "Operator": ours.filter(view | Q(codename__in=OPERATE)),
        "Administrator": ours,
        "Tenant viewer": permissions.filter(content_type__app_label="documents", codename__in=TENANT_VIEWER),
    }.items():
        group, made = groups.get_or_create(name=name)
        if made:
            group.permissions.set(allowed)


def _make_permissions(apps):
    """Django makes permissions after all migrations; the groups want them now."""
    for label in APPS:
        config = apps.get_app_config(label)
        module, config.models_module = getattr(config, "models_module", None), True
        create_permissions(config, apps=apps, verbosity=0)
        config.models_module = module


class Migration(migrations.Migration):
    dependencies = [
        ("documents", "0004_people"),
        ("queueadmin", "0008_repair_permissions"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(make_groups, migrations.RunPython.noop)]
