"""The service's settings as they are shipped, and one more app with the actors of the harness."""

from pathlib import Path

from tests.faults.apps.ledger import clock

clock.apply()

from ingestion_site.settings import *  # noqa: E402, F403  # all of them: this is what is tested, under the turned clock
from ingestion_site.settings import INSTALLED_APPS as _SHIPPED  # noqa: E402  # likewise

INSTALLED_APPS = [*_SHIPPED, "tests.faults.apps.ledger"]
EXTRACTION_REGISTRY = "hostile_engines"
EXTRACTION_PATH = (Path(__file__).parents[1] / "engines",)
