"""Signatures that the reference implementation accepts."""

import base64
import secrets
import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from documents.callbacks.signing import signed_headers


def new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def test_the_example_of_the_specification_is_reproduced() -> None:
    # Given secret, id, timestamp and body of the specification's own test vector
    headers = signed_headers(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    # Then the signature is the one printed there
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_reference_library_verifies_each_of_two_secrets_while_they_are_rotated() -> None:
    old, new = new_secret(), new_secret()
    headers = signed_headers([new, old], message_id="msg_1", timestamp=int(time.time()), body=b'{"a":"\xc3\xa9"}')
    assert Webhook(old).verify(b'{"a":"\xc3\xa9"}', headers) == {"a": "é"}
    assert Webhook(new).verify(b'{"a":"\xc3\xa9"}', headers) == {"a": "é"}


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_changed_header_does_not_verify(name: str) -> None:
    secret = new_secret()
    headers = signed_headers([secret], message_id="msg_1", timestamp=int(time.time()), body=b"{}")
    other = signed_headers([new_secret()], message_id="msg_2", timestamp=int(time.time()) - 1, body=b"{}")
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(b"{}", {**headers, name: other[name]})


def test_a_changed_body_does_not_verify() -> None:
    secret = new_secret()
    headers = signed_headers([secret], message_id="msg_1", timestamp=int(time.time()), body=b"{}")
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(b"[]", headers)
