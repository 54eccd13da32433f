"""The secrets of tenants: never in the clear, and rotated without losing an event."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook

from documents import api_keys, encryption
from documents.callbacks import secrets
from documents.callbacks.signing import signed_headers
from documents.encryption import SecretUnreadable
from documents.models import Tenant, WebhookSecret

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

SHARED = "whsec_" + base64.b64encode(b"s" * 32).decode()
DAY = timedelta(days=1)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def acme() -> Tenant:
    return api_keys.issue("k", scopes=["read"], tenant="acme").record.tenant


def signing(now: datetime = NOW, tenant: str = "acme") -> tuple[str, ...]:
    return secrets.signing(tenant, shared=(SHARED,), now=now)


def test_a_tenant_without_a_secret_is_signed_for_with_the_installations(acme: Tenant) -> None:
    assert signing() == (SHARED,)


def test_a_new_secret_signs_beside_the_old_one_until_the_overlap_is_over(acme: Tenant) -> None:
    # When the first secret of its own is made
    first = secrets.rotate(acme, overlap=DAY, shared=(SHARED,), now=NOW)
    # Then both sign for a day, and then the new one alone
    assert signing() == (first.secret, SHARED)
    assert signing(NOW + DAY) == (first.secret,)
    # And so again with the next one
    second = secrets.rotate(acme, overlap=DAY, shared=(SHARED,), now=NOW + 2 * DAY)
    assert signing(NOW + 2 * DAY) == (second.secret, first.secret)
    assert signing(NOW + 3 * DAY) == (second.secret,)
    # And nobody else's are touched
    assert signing(tenant="default") == (SHARED,)


def test_receivers_with_the_old_and_with_the_new_secret_both_verify_during_the_overlap(acme: Tenant) -> None:
    made = secrets.rotate(acme, overlap=DAY, shared=(SHARED,), now=NOW)
    body = b'{"type":"task.completed"}'
    headers = signed_headers(signing(), message_id="msg_1", timestamp=int(datetime.now(UTC).timestamp()), body=body)
    for secret in (made.secret, SHARED):
        assert Webhook(secret).verify(body, headers) == {"type": "task.completed"}


def test_a_leaked_secret_can_be_replaced_at_once(acme: Tenant) -> None:
    leaked = secrets.rotate(acme, overlap=DAY, shared=(SHARED,), now=NOW)
    made = secrets.rotate(acme, overlap=timedelta(0), shared=(SHARED,), now=NOW)
    assert signing() == (made.secret,)
    assert leaked.secret != made.secret


def test_however_often_it_is_rotated_an_event_carries_three_signatures_at_most(acme: Tenant) -> None:
    made = [secrets.rotate(acme, overlap=DAY, shared=(SHARED,), now=NOW) for _ in range(6)]
    assert signing() == tuple(one.secret for one in reversed(made[-3:]))
    assert WebhookSecret.objects.count() == 3


def test_no_secret_is_stored_in_the_clear(acme: Tenant) -> None:
    made = secrets.rotate(acme, overlap=DAY, shared=(SHARED,), now=NOW)
    stored = " ".join(WebhookSecret.objects.values_list("secret", flat=True))
    assert stored.startswith("fernet:")
    assert made.secret not in stored
    assert SHARED not in stored


def test_a_secret_that_cannot_be_read_is_a_passing_fault(acme: Tenant) -> None:
    WebhookSecret.objects.create(tenant=acme, secret=encryption.SecretBox(["k" * 40]).encrypt(SHARED))
    with pytest.raises(SecretUnreadable) as caught:
        signing()
    assert caught.value.retryable


def test_all_secrets_can_be_put_under_the_first_key(acme: Tenant) -> None:
    made = secrets.rotate(acme, overlap=DAY, shared=(SHARED,), now=NOW)
    before = set(WebhookSecret.objects.values_list("secret", flat=True))
    assert secrets.reencrypt() == 2
    assert before.isdisjoint(WebhookSecret.objects.values_list("secret", flat=True))
    assert signing() == (made.secret, SHARED)
