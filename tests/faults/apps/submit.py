"""`python -m tests.faults.apps.submit '{...}'`: a client that submits jobs and insists until each is accepted.

What is accepted is written to the effect log, as a client remembers its 202.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any, Protocol

import django
import redis

from tests.faults import effects
from tests.faults.apps.plan import WORK, Job, Plan, content, object_key

API_VARIABLE = "FAULTS_API"
"""JSON of what a client of the API needs: `url`, `key`, `callback`, and of the store `s3` and `bucket`."""

_PAUSE_SECONDS = 0.2
_BURST_SECONDS = 2.0
"""Submissions come in bursts, so that faults find jobs that wait as well as jobs that run."""

_EXPECTED_REFUSALS = frozenset({409, 503})
"""Under way already, and: the database is away. Anything else that is no 202 is a defect."""


class Refused(Exception):
    """The web server did not accept a document. Its first argument is the status."""


class Route(Protocol):
    """A way to submit."""

    def submit(self, job: Job) -> str:
        """Submit once; returns the id under which the job was accepted."""


def main(plan: Plan) -> None:
    django.setup()
    importlib.import_module(os.environ["DJANGO_SETTINGS_MODULE"].rpartition(".")[0] + ".tasks")
    actors, api = ByActor(plan), ByApi(plan) if plan.documents else None
    started = time.monotonic()
    for place, number in enumerate(range(plan.first, plan.last)):
        due = plan.seconds * place / (plan.last - plan.first)
        ahead = started + due - due % _BURST_SECONDS - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
        job = plan.job(number)
        route: Route = actors if api is None or job.kind == WORK else api
        _insist(plan, job, route)


def _insist(plan: Plan, job: Job, route: Route) -> None:
    deadline = time.monotonic() + plan.give_up_seconds
    while True:
        try:
            effects.record(effects.ACCEPTED, job.number, 0, about=route.submit(job))
            return
        except _passing_errors() as error:
            if time.monotonic() > deadline:
                print(f"job {job.number} was not accepted: {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201  # the harness reads it
                return
            time.sleep(_PAUSE_SECONDS)


def _passing_errors() -> tuple[type[Exception], ...]:
    import httpx
    from botocore.exceptions import BotoCoreError, ClientError
    from django.db import DatabaseError, InterfaceError
    from dramatiq.errors import ConnectionError as BrokerConnectionError

    return (
        DatabaseError, InterfaceError, redis.RedisError, BrokerConnectionError, OSError, httpx.HTTPError, Refused,
        BotoCoreError, ClientError,
    )  # fmt: skip


class ByActor:
    """Sends to an actor, as code of the same project does."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def submit(self, job: Job) -> str:
        import dramatiq
        from django.db import close_old_connections

        close_old_connections()
        broker = dramatiq.get_broker()
        actor = broker.get_actor(self._plan.actor)
        options: dict[str, Any] = {}
        if job.followed and "announce" in broker.actors:
            options = {"follow_up": broker.get_actor("announce")}
        message = actor.message_with_options(args=(job.number, job.seconds), **options).copy(
            message_id=self._plan.message_id(job.number), message_timestamp=1_700_000_000_000 + job.number
        )
        return str(broker.enqueue(message, delay=job.delay).message_id)


class ByApi:
    """Puts a document into the object store and posts it to the web server, as a backend does."""

    def __init__(self, plan: Plan) -> None:
        import boto3
        import httpx
        from botocore.config import Config

        self._plan = plan
        self._api: dict[str, Any] = json.loads(os.environ[API_VARIABLE])
        self._http = httpx.Client(headers={"Authorization": f"Bearer {self._api['key']}"}, timeout=10.0)
        self._store = boto3.client("s3", config=Config(retries={"total_max_attempts": 1}), **self._api["s3"])

    def submit(self, job: Job) -> str:
        key = object_key(self._plan.run, job.number)
        self._store.put_object(Bucket=self._api["bucket"], Key=key, Body=content(self._plan.run, job))
        body = {
            "document_id": f"doc-{job.number}", "user_id": "faults", "file_name": f"{job.number}.txt", "r2_key": key,
            "content_type": "text/plain", "callback_url": self._api["callback"], "metadata": {"number": job.number},
        }  # fmt: skip
        headers = {"Idempotency-Key": self._plan.message_id(job.number)}
        answer = self._http.post(f"{self._api['url']}/api/documents/process", json=body, headers=headers)
        if answer.status_code != 202:
            if answer.status_code not in _EXPECTED_REFUSALS:
                effects.record(effects.REFUSED, job.number, 0, about=str(answer.status_code))
            raise Refused(answer.status_code, answer.text[:300])
        return str(answer.json()["task_id"])


if __name__ == "__main__":
    main(Plan(**json.loads(sys.argv[1])))
