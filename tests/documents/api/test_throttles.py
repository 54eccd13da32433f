"""What a tenant may ask for in a minute, and how an answer says so."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import dramatiq
import pytest
import redis
from django.test import override_settings

from documents import tenants, throttling
from documents.models import Tenant
from queueadmin.broker import LedgerRedisBroker, get_ledger_broker
from queueadmin.models import OperationLog
from tests.documents.api.client import PROCESS, STATS, Api, assert_problem, submission
from tests.servers import free_port

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]


def limit(tenant: str = "default", **rates: int | None) -> None:
    throttling.set_rates(tenant, rates, by="Ada", source="cli")


def test_without_limits_nothing_is_counted_and_nothing_said(make_api: Callable[..., Api], valkey: redis.Redis) -> None:
    answer = make_api().get(STATS)
    assert not {"RateLimit", "RateLimit-Policy", "Retry-After"} & set(answer.headers)
    assert not [key for key in valkey.scan_iter() if b"quota" in key]


def test_each_answer_says_what_is_left_and_the_one_too_many_when_to_come_back(make_api: Callable[..., Api]) -> None:
    api = make_api()
    limit(requests_per_minute=2)
    # When
    first, second, third = (api.get(STATS) for _ in range(3))
    # Then
    assert first.headers["RateLimit-Policy"] == '"requests";q=2;w=60'
    assert first.headers["RateLimit"] == '"requests";r=1;t=30'
    assert second.headers["RateLimit"].startswith('"requests";r=0;t=')
    problem = assert_problem(third, 429, "rate_limited")
    assert problem["violated-policies"] == ["requests"]
    assert 1 <= int(third.headers["Retry-After"]) <= 30
    assert third.headers["RateLimit"].startswith('"requests";r=0;t=')


def test_tenants_are_counted_apart_and_all_keys_of_one_together(make_api: Callable[..., Api]) -> None:
    one, other, stranger = make_api(), make_api("read"), make_api(tenant="acme")
    limit(requests_per_minute=1)
    assert one.get(STATS).status_code == 200
    assert other.get(STATS).status_code == 429
    assert stranger.get(STATS).status_code == 200


def test_documents_are_counted_by_themselves_also_those_of_a_batch(make_api: Callable[..., Api]) -> None:
    api = make_api()
    limit(documents_per_minute=3)
    document = submission()
    batch = api.post("/api/documents/batch", {"documents": [document, document]})
    assert batch.headers["RateLimit"].startswith('"documents";r=1;')
    assert api.post(PROCESS, document).status_code == 202
    assert_problem(api.post(PROCESS, document), 429, "rate_limited")
    # And reading costs none
    assert api.get(STATS).status_code == 200


def test_the_settings_count_for_whoever_has_nothing_else_and_nought_lifts_them(make_api: Callable[..., Api]) -> None:
    api = make_api()
    with override_settings(REQUESTS_PER_MINUTE=1):
        assert [api.get(STATS).status_code for _ in range(2)] == [200, 429]
        limit(requests_per_minute=0)
        assert api.get(STATS).status_code == 200
    assert OperationLog.objects.get().detail == {"requests_per_minute": 0}
    assert Tenant.objects.get(pk="default").requests_per_minute == 0


def test_a_request_without_a_key_or_a_scope_is_not_counted(make_api: Callable[..., Api]) -> None:
    reader = make_api("read")
    limit(requests_per_minute=1)
    assert Api(None).get(STATS).status_code == 401
    assert reader.post(PROCESS, submission()).status_code == 403
    assert reader.get(STATS).status_code == 200


@pytest.fixture
def without_redis() -> Iterator[None]:
    before = get_ledger_broker()
    away = LedgerRedisBroker(settings=replace(before.settings, redis_url=f"redis://127.0.0.1:{free_port()}/0"))
    away.actors.update(before.actors)
    dramatiq.set_broker(away)
    yield
    dramatiq.set_broker(before)
    away.close()


def test_without_redis_nothing_fails_and_each_process_counts_for_itself(
    make_api: Callable[..., Api], without_redis: None
) -> None:
    api = make_api()
    limit(requests_per_minute=2)
    assert [api.get(STATS).status_code for _ in range(3)] == [200, 200, 429]
    tenants.forget()
