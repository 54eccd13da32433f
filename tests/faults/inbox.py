"""A receiver of webhooks that has bad days, and remembers what reached it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import socket
import threading
import time
from dataclasses import dataclass, field

from tests.receivers import Received, Receiver, answer, reset

SECRET = "whsec_" + base64.b64encode(b"the harness of faults, 32 bytes.").decode()
_MOODS = ("refuse", "unavailable", "reset")


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One webhook that was read whole. `accepted` says whether the sender was told so."""

    id: str
    task: str
    at: float
    body: bytes
    is_signed: bool
    accepted: bool


@dataclass(eq=False)
class Inbox:
    """Answers 204, or misbehaves in the share `failing` of all requests.

    What it fails it has read all the same, so it gets some webhooks twice, as a receiver does that dies before its
    answer arrives.
    """

    dice: random.Random
    failing: float = 0.0
    failed: int = 0
    deliveries: list[Delivery] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._receiver = Receiver([self._behave])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._receiver.port}/hook"

    def close(self) -> None:
        self._receiver.close()

    def _behave(self, connection: socket.socket, received: Received, receiver: Receiver) -> None:
        with self._lock:
            fails = self.dice.random() < self.failing
            self.failed += fails
            mood = self.dice.choice(_MOODS) if fails else ""
            self.deliveries.append(_delivery(received, accepted=not fails))
        behaviour = {"refuse": answer(500), "unavailable": answer(503), "reset": reset}.get(mood, answer(204))
        behaviour(connection, received, receiver)


def _delivery(received: Received, *, accepted: bool) -> Delivery:
    return Delivery(
        id=received.headers.get("webhook-id", ""),
        task=str(json.loads(received.body)["data"]["task_id"]),
        at=time.time(),
        body=received.body,
        is_signed=_is_signed(received),
        accepted=accepted,
    )


def _is_signed(received: Received) -> bool:
    """As https://github.com/standard-webhooks/standard-webhooks says, written again for the receiver's side."""
    names = ("webhook-id", "webhook-timestamp")
    content = b".".join([*(received.headers.get(name, "").encode() for name in names), received.body])
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    wanted = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return f"v1,{wanted}" in received.headers.get("webhook-signature", "").split()
