"""Signatures of the Standard Webhooks scheme, version 1.0.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

_PREFIX = "whsec_"


def signed_headers(secrets: Sequence[str], *, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers that authenticate `body`. `timestamp` is seconds since 1970, at this attempt.

    Each of `secrets` (`whsec_` and base64) adds a signature; a receiver accepts the message if one fits, so a
    secret is rotated by signing with both for a while.
    """
    content = b".".join((message_id.encode(), str(timestamp).encode(), body))
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{_signature(secret, content)}" for secret in secrets),
    }


def _signature(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    return base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
