"""Waiting for another server's answer, but not longer than somebody wants it.

A store that says nothing holds whoever reads from it until its time-out, half a minute and more: a socket that another
thread reads from cannot be interrupted through boto3. So the reading is done by a thread of its own, which is left to
its time-out when nobody waits for it any longer. It costs 0.1 ms, beside a request to a store of 5 ms and more.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError, wait
from typing import TypeVar

from documents.exceptions import TransferCancelled

_LOOK_SECONDS = 0.25

_Result = TypeVar("_Result")


def unless_cancelled(
    call: Callable[[], _Result], *, cancelled: Callable[[], bool], late: Callable[[], object]
) -> _Result:
    """What `call` returns or raises. Raises TransferCancelled within a quarter of a second of `cancelled()` being true.

    Then `call` goes on alone until it notices as well; should it succeed nevertheless, `late` is called after it.
    """
    outcome: Future[_Result] = Future()
    run = contextvars.copy_context().run
    threading.Thread(target=run, args=(_settle, call, outcome, late), name="download", daemon=True).start()
    while not wait([outcome], timeout=_LOOK_SECONDS).done:
        if cancelled() and outcome.cancel():
            raise TransferCancelled()
    return outcome.result()


def _settle(call: Callable[[], _Result], outcome: Future[_Result], late: Callable[[], object]) -> None:
    try:
        result = call()
    except BaseException as error:
        _raised(outcome, error)
    else:
        try:
            outcome.set_result(result)
        except InvalidStateError:  # nobody waits any longer
            late()


def _raised(outcome: Future[_Result], error: BaseException) -> None:
    try:
        outcome.set_exception(error)
    except InvalidStateError:  # nobody waits any longer
        return
