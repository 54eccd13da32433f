from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class QueueAdminConfig(AppConfig):
    name = "queueadmin"
    verbose_name = "Queues"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from queueadmin import (
            checks,  # noqa: F401  (registers the system checks)
            server_checks,  # noqa: F401  (as above)
            tasks,  # noqa: F401  (registers the actors with the broker)
        )


class ControlPlaneConfig(AdminConfig):
    """Django's admin with the control plane in it: name it in INSTALLED_APPS in the place of django.contrib.admin."""

    default_site = "queueadmin.site.ControlPlaneSite"
