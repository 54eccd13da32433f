"""The service's settings as they are shipped, and one more app with the actors of the benchmark."""

from ingestion_site.settings import *  # noqa: F403  # all of them: this is what is measured
from ingestion_site.settings import INSTALLED_APPS as _SHIPPED

INSTALLED_APPS = [*_SHIPPED, "tests.bench.apps.ledger"]
