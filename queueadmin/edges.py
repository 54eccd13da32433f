"""The edges of a job's life: from where, to where, taken by whom. `lifecycle` has a function for each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from queueadmin.states import State


@dataclass(frozen=True, kw_only=True)
class Edge:
    """One way from state to state. `by` is who takes it; `sources` is empty for a job's birth."""

    name: str
    sources: frozenset[State]
    targets: tuple[State, ...]
    by: str
    doc: str


def _edge(name: str, sources: Iterable[State], targets: Iterable[State], by: str, doc: str) -> Edge:
    return Edge(name=name, sources=frozenset(sources), targets=tuple(targets), by=by, doc=doc)


WAITING = (State.PENDING, State.SCHEDULED, State.RETRYING)
ENDED = (State.FAILED, State.DEAD_LETTER, State.CANCELLED)

EDGES = (
    _edge("submit", (), (State.PENDING, State.SCHEDULED), "client", "accepted; scheduled when it has a delay"),
    _edge("promote", (State.SCHEDULED, State.RETRYING), (State.PENDING,), "dispatcher", "its time has come"),
    _edge("claim", (State.PENDING,), (State.PROCESSING,), "worker", "a worker takes it, with a token of its own"),
    _edge("complete", (State.PROCESSING,), (State.COMPLETED,), "worker", "done, result recorded"),
    _edge(
        "retry_later",
        (State.PROCESSING,),
        (State.RETRYING,),
        "worker",
        "a passing fault; due again after backoff",
    ),
    _edge("fail", (State.PROCESSING,), (State.FAILED,), "worker", "a permanent fault"),
    _edge("bury", (State.PROCESSING,), (State.DEAD_LETTER,), "worker", "its attempts are exhausted"),
    _edge("release", (State.PROCESSING,), (State.PENDING,), "worker", "given back unfinished; burns no attempt"),
    _edge("stop", (State.PROCESSING,), (State.CANCELLED,), "worker", "stopped as a person asked"),
    _edge(
        "rescue",
        (State.PROCESSING,),
        (State.RETRYING, State.DEAD_LETTER, State.CANCELLED),
        "dispatcher",
        "its worker is gone, or no outcome can be stored; a dead letter when that is too often, cancelled if asked for",
    ),
    _edge("cancel", WAITING, (State.CANCELLED,), "operator", "stopped before it ran"),
    _edge(
        "retry",
        ENDED,
        (State.PENDING, State.SCHEDULED),
        "operator",
        "queued again with fresh attempts and the same id; scheduled when it is to run later",
    ),
    _edge(
        "retry_now",
        (State.SCHEDULED, State.RETRYING),
        (State.PENDING,),
        "operator",
        "no longer waits for its time",
    ),
    _edge("discard", (State.DEAD_LETTER,), (State.CANCELLED,), "operator", "a dead letter given up"),
)
