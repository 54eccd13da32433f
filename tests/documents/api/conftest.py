"""API keys and clients. Nothing of Django is imported here: pytest loads this file before the settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from documents.api_keys import IssuedKey
    from tests.documents.api.client import Api

ALL_SCOPES = ("submit", "read", "operate")


@pytest.fixture(autouse=True)
def _fresh_tenants() -> Iterator[None]:
    """Tests make tenants anew; what this process remembers of the last test's ones is wrong."""
    from documents import tenants

    tenants.forget()
    yield
    tenants.forget()


@pytest.fixture
def make_key() -> Callable[..., IssuedKey]:
    """`make_key(*scopes, tenant=..., expires_at=...)`; all scopes of the default tenant by default."""

    from documents import api_keys

    def make(*scopes: str, **fields: Any) -> IssuedKey:
        return api_keys.issue("test", scopes=scopes or ALL_SCOPES, **fields)

    return make


@pytest.fixture
def make_api(make_key: Callable[..., IssuedKey]) -> Callable[..., Api]:
    """A client with a new key: `make_api("read", tenant="acme")`."""
    from tests.documents.api.client import Api

    return lambda *scopes, **fields: Api(make_key(*scopes, **fields).key)


@pytest.fixture
def api(db: None, make_api: Callable[..., Api]) -> Api:
    """A client that submits and reads for the default tenant."""
    return make_api("submit", "read")
