"""The service's settings as they are shipped, and one more app with the actors of the harness."""

from ingestion_site.settings import *  # noqa: F403  # all of them: this is what is tested
from ingestion_site.settings import INSTALLED_APPS as _SHIPPED

INSTALLED_APPS = [*_SHIPPED, "tests.faults.apps.ledger"]
