"""The site's own app: its commands, and the one place where the Dramatiq broker is set up."""

import dramatiq
from django_dramatiq.apps import DjangoDramatiqConfig

from ingestion_site.orphans import FollowMaster
from ingestion_site.traces import Traces


class IngestionSiteConfig(DjangoDramatiqConfig):
    """django_dramatiq's set-up (broker and middleware from DRAMATIQ_BROKER), under our app.

    Installing django_dramatiq itself would add its Task table, its admin page and its `delete_old_tasks`
    actor: a second, weaker ledger beside ours.
    """

    name = "ingestion_site"
    label = "ingestion_site"
    verbose_name = "Ingestion site"

    def ready(self) -> None:
        """Let worker processes end with their master; register the checks."""
        from ingestion_site import checks, connections  # noqa: F401  (they import the settings, which are ready only now)

        super().ready()
        dramatiq.get_broker().add_middleware(FollowMaster())
        dramatiq.get_broker().add_middleware(Traces())
