"""The life of a job: its edges, and the only code that writes `Job.state`.

Each edge is an UPDATE guarded by the states it leaves and, where a worker acts, by the claim
token; its event is written in the same transaction. Tokens are made before the first try, so
repeating an edge whose COMMIT reply was lost changes nothing. `docs/state_machine.md` is
rendered from `edges.EDGES`, and a test walks every state x edge x stale token.
"""

from __future__ import annotations

from queueadmin.lifecycle.dispatcher import give_up, promote, rescue
from queueadmin.lifecycle.operator import (
    cancel,
    change_priority,
    discard,
    request_cancel,
    retry,
    retry_changed,
    retry_now,
)
from queueadmin.lifecycle.submission import submit
from queueadmin.lifecycle.worker import (
    bury,
    claim,
    complete,
    fail,
    finish,
    recover_claims,
    release,
    retry_later,
    still_owed,
    stop,
)

__all__ = [
    "bury",
    "cancel",
    "change_priority",
    "claim",
    "complete",
    "discard",
    "fail",
    "finish",
    "give_up",
    "promote",
    "recover_claims",
    "release",
    "request_cancel",
    "rescue",
    "retry",
    "retry_changed",
    "retry_later",
    "retry_now",
    "still_owed",
    "stop",
    "submit",
]
