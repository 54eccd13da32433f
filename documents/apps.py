"""The domain's Django app."""

from django.apps import AppConfig


class DocumentsConfig(AppConfig):
    name = "documents"
    verbose_name = "Documents"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Whoever submits needs the actors, not only the worker: a message is checked against them.
        from documents import (
            checks,  # noqa: F401  (registers the system checks)
            overview,  # noqa: F401  (adds to the control plane's overview)
            search_fields,  # noqa: F401  (adds to the filter language)
            tasks,  # noqa: F401  (registers the actors with the broker)
        )
