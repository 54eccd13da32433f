from django.apps import AppConfig


class QueueAdminConfig(AppConfig):
    name = "queueadmin"
    verbose_name = "Queues"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from queueadmin import checks  # noqa: F401  (registers the system checks)
