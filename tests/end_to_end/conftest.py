"""A whole service for each test: database, Valkey, a document store, and real workers when the test starts them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from tests.conftest import WorkerFactory

if TYPE_CHECKING:
    from tests.end_to_end.service import Service


@pytest.fixture
def service(live_worker: WorkerFactory, valkey: redis.Redis, tmp_path: Path) -> Iterator[Service]:
    """A service on the directory store, in a data directory of its own; no worker runs yet."""
    from tests.end_to_end.service import Service  # models can be imported only now

    documents = tmp_path / "documents"

    def put(key: str, content: bytes) -> None:
        path = documents / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    yield Service(
        data_dir=tmp_path,
        start_worker=live_worker,
        put=put,
        variables={"DATA_DIR": str(tmp_path), "MIN_BACKOFF_SECONDS": "1", "MAX_BACKOFF_SECONDS": "2"},
    )
