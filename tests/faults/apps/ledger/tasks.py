"""Actors that say in the effect log when they start and end, and the service's own, of which the harness says it."""

import os
import signal
import time
from pathlib import PurePosixPath
from typing import Any

import dramatiq
from dramatiq.middleware import Middleware

from queueadmin.context import current_job
from tests.faults import effects


class Watch(Middleware):
    """Notes executions of the service's own actor, which is run as it is."""

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        self._note(effects.STARTED, message)

    def after_process_message(
        self, broker: dramatiq.Broker, message: dramatiq.MessageProxy, *, result: Any = None, exception: Any = None
    ) -> None:
        if exception is None:
            self._note(effects.ENDED, message)

    @staticmethod
    def _note(kind: str, message: dramatiq.MessageProxy) -> None:
        if message.actor_name == "ingest_document":
            number = int(PurePosixPath(message.kwargs["r2_key"]).stem)
            effects.record(kind, number, current_job().attempt, about=message.message_id)


dramatiq.get_broker().add_middleware(Watch())


@dramatiq.actor(queue_name="faults")
def work(number: int, seconds: float) -> int:
    """An ordinary job: takes `seconds`."""
    attempt = current_job().attempt
    effects.record(effects.STARTED, number, attempt)
    time.sleep(seconds)
    effects.record(effects.ENDED, number, attempt)
    return number


@dramatiq.actor(queue_name="faults")
def announce(job_id: str, state: str, run: int) -> None:
    """The follow-up of a job: what a webhook is to a document."""
    effects.record(effects.ANNOUNCED, 0, run, about=job_id)


@dramatiq.actor(queue_name="faults")
def poison(number: int, seconds: float) -> None:
    """Kills its process, as a document might that makes a C library write where it must not."""
    effects.record(effects.STARTED, number, current_job().attempt)
    os.kill(os.getpid(), signal.SIGKILL)


if os.environ.get("FAULTS_OLD_CODE") != "1":

    @dramatiq.actor(queue_name="faults")
    def brand_new(number: int, seconds: float) -> int:
        """An actor that workers of the last deployment do not have."""
        return work.fn(number, seconds)
