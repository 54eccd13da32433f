"""A backend that submits documents through the API all the time, and tries again as docs/api.md says."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import httpx

from tests.servers import PROJECT_DIR

SAMPLES = sorted(path.name for path in (PROJECT_DIR / "samples").iterdir() if path.suffix not in (".md", ".py"))
_AGAIN_SECONDS = 0.2
_PATIENCE_SECONDS = 120.0


@dataclass
class Backend:
    """`every` seconds one document, to any of the web servers; a try that fails is repeated at the next one."""

    addresses: Sequence[str]
    key: str
    callback_url: str
    every: float
    accepted: dict[str, str] = field(default_factory=dict)
    """Task id -> the sample's name."""
    unanswered: Counter[str] = field(default_factory=Counter)
    """What a try that had to be repeated met with."""

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._numbers = itertools.count()
        self._turn = itertools.cycle(self.addresses)
        self._random = random.Random(1)
        self._http = httpx.Client(headers={"Authorization": f"Bearer {self.key}"}, timeout=30)
        self._thread = threading.Thread(target=self._run, name="backend", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> None:
        """Submit no more; what was begun is accepted when this returns."""
        self._over.set()
        self._thread.join(60)

    def submit(self) -> None:
        """One document, until it is accepted. The idempotency key makes a repetition harmless."""
        number = next(self._numbers)
        sample = self._random.choice(SAMPLES)
        body = {
            "document_id": f"walk-{number}", "user_id": "walker", "file_name": sample, "r2_key": sample,
            "content_type": "application/octet-stream", "callback_url": self.callback_url,
        }  # fmt: skip
        answer = self._until_accepted(body, key=f"walk-{number}")
        self.accepted[answer["task_id"]] = sample

    def state(self, task: str) -> str:
        """The state of a task, as the API says it; "unknown" for none of the tenant's."""
        response = self._ask(lambda address: self._http.get(f"http://{address}/api/documents/task/{task}/status"))
        return "unknown" if response.status_code == 404 else str(response.json()["status"])

    def _until_accepted(self, body: Mapping[str, str], *, key: str) -> dict[str, str]:
        answer: dict[str, str] = self._ask(
            lambda address: self._http.post(
                f"http://{address}/api/documents/process", json=body, headers={"Idempotency-Key": key}
            )
        ).json()
        return answer

    def _ask(self, request: Callable[[str], httpx.Response]) -> httpx.Response:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                response = request(next(self._turn))
            except (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError) as error:
                self.unanswered[type(error).__name__] += 1
            else:
                if response.is_success or response.status_code == 404:
                    return response
                if response.status_code != 503:
                    raise RuntimeError(f"{response.status_code}: {response.text}")
                self.unanswered["503"] += 1
            time.sleep(_AGAIN_SECONDS)
        raise TimeoutError(f"no web server has answered well for {_PATIENCE_SECONDS:g} s: {dict(self.unanswered)}")

    def _run(self) -> None:
        while not self._over.wait(self.every):
            self.submit()
