"""What documents add to the control plane's overview: webhooks that wait, and whether the document store answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from django.urls import reverse

from documents import conf
from documents.exceptions import StorageError
from documents.webhooks import ACTORS
from queueadmin.inspection import Overview
from queueadmin.panels import Figure, Part, register_figures, register_part
from queueadmin.states import State

_WAITING = (State.PENDING, State.SCHEDULED, State.RETRYING)


@register_figures
def webhook_figures(overview: Overview) -> list[Figure]:
    """Deliveries that wait for their turn or their next try, and those that were given up; counted already."""
    waiting = sum(overview.actors.get(actor, {}).get(state, 0) for actor in ACTORS for state in _WAITING)
    given_up = sum(overview.actors.get(actor, {}).get(State.DEAD_LETTER, 0) for actor in ACTORS)
    return [
        Figure(label="Webhooks waiting", value=waiting, url=_deliveries(*_WAITING)),
        Figure(label="Webhooks given up", value=given_up, url=_deliveries(State.DEAD_LETTER), is_bad=given_up > 0),
    ]


def _deliveries(*states: State) -> str:
    search = f"state:{','.join(states)} actor:{','.join(ACTORS)}"
    return f"{reverse('admin:queueadmin_job_changelist')}?{urlencode({'q': search})}"


# -- the store -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Answer:
    problem: str
    at: float


class Watch:
    """Asks now and then whether something works, beside the request that wants to know: a store that hangs must not
    hang the page that is to say so.

    `ask` returns what is wrong, or "". An answer is good for `fresh` seconds, and nobody waits longer than `patience`.
    """

    def __init__(
        self, ask: Callable[[], str], *, fresh: float = 15.0, patience: float = 0.3,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._ask = ask
        self._fresh, self._patience = fresh, patience
        self._clock = clock
        self._lock = threading.Lock()
        self._answer: _Answer | None = None
        self._asking: threading.Thread | None = None

    def problem(self) -> str:
        """What is wrong; "" when it works."""
        asking = self._begin()
        if asking is not None:
            asking.join(self._patience)
        answer = self._answer
        if answer is None or self._clock() - answer.at > 4 * self._fresh:
            return "It does not answer."
        return answer.problem

    def _begin(self) -> threading.Thread | None:
        with self._lock:
            if self._answer is not None and self._clock() - self._answer.at <= self._fresh:
                return None
            if self._asking is None or not self._asking.is_alive():
                self._asking = threading.Thread(target=self._find_out, name="documents-store-watch", daemon=True)
                self._asking.start()
            return self._asking

    def _find_out(self) -> None:
        self._answer = _Answer(problem=self._ask(), at=self._clock())


def _store_problem() -> str:
    try:
        conf.document_store().check()
    except StorageError as error:
        return str(error)
    except OSError as error:  # a directory that cannot be made
        return f"The document directory cannot be used: {error.strerror}."
    return ""


_store = Watch(_store_problem)


@register_part
def storage() -> Part:
    """The document store, as it answered a few seconds ago."""
    problem = _store.problem()
    return Part(name="Storage", is_up=not problem, detail=problem or conf.store_kind())
