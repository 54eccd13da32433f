"""A broker and an administrator's browser for the tests of pages."""

from collections.abc import Iterator

import dramatiq
import pytest
from django.test import Client

from queueadmin.broker import LedgerRedisBroker


@pytest.fixture(autouse=True)
def current_broker(broker: LedgerRedisBroker) -> Iterator[None]:
    before = dramatiq.get_broker()
    dramatiq.set_broker(broker)
    yield
    dramatiq.set_broker(before)


@pytest.fixture
def admin(db: None) -> Client:
    from tests.queueadmin.people import staff  # needs Django's models, which are set up after this file is read

    return staff(superuser=True)
