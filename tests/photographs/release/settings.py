"""The service's settings as they are shipped, and one more app."""

from ingestion_site.settings import *  # noqa: F403  # all of them: this is what is photographed
from ingestion_site.settings import INSTALLED_APPS as _SHIPPED

INSTALLED_APPS = [*_SHIPPED, "tests.photographs.release"]
