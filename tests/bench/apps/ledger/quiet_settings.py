"""The same without metrics, to see what they cost; the environment silences the logs."""

from tests.bench.apps.ledger.settings import *  # noqa: F403  # all of them but one
from tests.bench.apps.ledger.settings import QUEUEADMIN as _SHIPPED

QUEUEADMIN = {**_SHIPPED, "MEASURES": False}
