"""The benchmark's stock project, with the actors of the harness."""

from tests.bench.apps.audited.settings import *  # noqa: F403  # as django_dramatiq's README sets it up

INSTALLED_APPS = ["django_dramatiq", "tests.faults.apps.stock"]
