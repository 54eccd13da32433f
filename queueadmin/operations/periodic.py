"""What people do to periodic jobs: run one now, pause, resume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Unpack
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from dramatiq import Actor

from queueadmin import lookup
from queueadmin.audit import Who, audited
from queueadmin.models import PeriodicControl
from queueadmin.operations.results import UnknownPeriodic
from queueadmin.periodic import periodic_actors
from queueadmin.sanitize import clean_text


@dataclass(frozen=True, kw_only=True)
class PeriodicResult:
    """What an operation on a periodic job did: `changed` is False when it was so already."""

    log_id: UUID
    actor: str
    changed: bool


def run_periodic(actor: str, **who: Unpack[Who]) -> PeriodicResult:
    """Send it now, paused or not, unless one is under way. Its next regular run stays. Raises UnknownPeriodic."""
    found = _require_known(actor)
    key = f"periodic:{actor}"
    with audited("run now", actor, 1, **who) as log, transaction.atomic():
        if key not in lookup.unique_key_holders([key]):
            found.send_with_options(unique_key=key)
            log.done = 1
    return PeriodicResult(log_id=log.pk, actor=actor, changed=bool(log.done))


def pause_periodic(actor: str, **who: Unpack[Who]) -> PeriodicResult:
    """Let the dispatcher send it no more; what is under way goes on. Raises UnknownPeriodic."""
    _require_known(actor)
    with audited("pause periodic", actor, 1, **who) as log:
        _, made = PeriodicControl.objects.get_or_create(
            actor=actor,
            defaults={
                "paused_at": timezone.now(), "paused_by": log.by[:150], "reason": clean_text(who.get("reason", "")),
            },
        )  # fmt: skip
        log.done = int(made)
    return PeriodicResult(log_id=log.pk, actor=actor, changed=made)


def resume_periodic(actor: str, **who: Unpack[Who]) -> PeriodicResult:
    """Let the dispatcher send it again: within seconds, if its time has come meanwhile. Raises UnknownPeriodic."""
    _require_known(actor)
    with audited("resume periodic", actor, 1, **who) as log:
        log.done = PeriodicControl.objects.filter(actor=actor).delete()[0]
    return PeriodicResult(log_id=log.pk, actor=actor, changed=bool(log.done))


def _require_known(actor: str) -> Actor[Any, Any]:
    known = periodic_actors()
    if actor not in known:
        raise UnknownPeriodic(actor, list(known))
    return known[actor]
