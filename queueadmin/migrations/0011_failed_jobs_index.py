# Made by Django; the job table is the one that every worker writes to, so it is not locked meanwhile.

from django.db import migrations, models

from queueadmin.migrations._without_lock import AddIndexWithoutLock


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("queueadmin", "0010_drain_workers"),
    ]

    operations = [
        AddIndexWithoutLock(
            model_name="job",
            index=models.Index(
                condition=models.Q(("cleaned_at__isnull", True), ("state__in", ["dead_letter", "failed"])),
                fields=["state", "queue", "actor"],
                name="job_ended_badly",
            ),
        ),
    ]
