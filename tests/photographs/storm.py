"""A storm of failures from one bad release, and how an operator ends it: real jobs, real workers, real clicks.

The walk of docs/operations.md: each step below is a step there, and its picture has its number.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.photographs.camera import Camera, camera
from tests.photographs.release import BAD, GOOD, QUEUE
from tests.photographs.stage import Stage, Worker
from tests.servers import wait_until

CUSTOMERS = ("acme", "globex", "initech", "umbrella")
_BEFORE, _DURING, _AFTER = 60, 240, 60
"""Jobs: while all was well, into the bad release, and while the operator looks at it."""
_PATIENCE_SECONDS = 180.0
_WAITS, _DEAD, _DONE = ("pending", "processing", "retrying", "scheduled"), ("dead_letter",), ("completed",)


def walk(stage: Stage, out: Path) -> None:
    """All of it. Raises when a step does not show what it should; at the end every job is completed."""
    url = stage.web()
    good = stage.worker("host-a", GOOD)
    _submit(range(_BEFORE))
    _until(_DONE, _BEFORE)
    good.stop()
    bad = stage.worker("host-a", BAD)
    _submit(range(_DURING))
    _until(_DEAD, _DURING // 2)
    with camera(url, out) as lens:
        lens.shoot("storm-1-overview", path="/admin/control/overview/")
        _until(_DEAD, _DURING)
        _find_the_group(lens)
        _see_the_cause(lens)
        _pause(lens, QUEUE)
        _submit(range(_AFTER))
        _roll_out(stage, bad)
        _retry_the_group(lens)
        _resume(lens, QUEUE)
        _watch_it_drain(lens)
        _read_the_audit(lens)


def _find_the_group(lens: Camera) -> None:
    lens.shoot("storm-2-group", path="/admin/control/failures/?span=hour")


def _see_the_cause(lens: Camera) -> None:
    lens.page.get_by_role("link", name="Example").first.click()
    lens.page.wait_for_selector("text=total_in_cents")
    lens.shoot("storm-3-cause", whole=True)


def _pause(lens: Camera, queue: str) -> None:
    lens.open(f"/admin/queueadmin/queuecontrol/operate/pause/?queue={queue}")
    _confirm(lens, "Release 3.1.0 fails on every report; rolling back")
    lens.shoot("storm-4-paused", path="/admin/queueadmin/queuecontrol/")


def _roll_out(stage: Stage, bad: Worker) -> None:
    """The fix: workers with the bad release are told to stop, workers with the good one start."""
    code = bad.stop(35)
    if code != 0:
        raise RuntimeError(f"the worker ended with {code}")
    stage.worker("host-a", GOOD)


def _retry_the_group(lens: Camera) -> None:
    lens.open("/admin/control/failures/?span=hour")
    lens.page.get_by_role("link", name="Retry this group").first.click()
    lens.page.fill("#qa-reason", "3.1.1 reads the column that is there")
    lens.shoot("storm-5-retry")
    lens.page.locator("main input[type=submit]").first.click()
    lens.page.wait_for_url(re.compile("/control/bulk/[0-9a-f-]{36}/"))
    wait_until(lambda: _count(_DEAD) == 0, seconds=_PATIENCE_SECONDS, what="the group to be queued again")


def _resume(lens: Camera, queue: str) -> None:
    lens.open(f"/admin/queueadmin/queuecontrol/operate/resume/?queue={queue}")
    _confirm(lens, "3.1.1 is out")


def _watch_it_drain(lens: Camera) -> None:
    waiting = _count(_WAITS)
    wait_until(lambda: _count(_WAITS) < waiting / 2, seconds=_PATIENCE_SECONDS, what="half of them to be done")
    lens.shoot("storm-6-drain", path="/admin/control/overview/")
    _until(_DONE, _BEFORE + _DURING + _AFTER)


def _read_the_audit(lens: Camera) -> None:
    lens.shoot("storm-7-audit", path="/admin/queueadmin/operationlog/")


def _confirm(lens: Camera, reason: str) -> None:
    lens.page.fill("#qa-reason", reason)
    lens.page.locator("main input[type=submit]").first.click()
    lens.page.wait_for_selector(".messagelist .success")


def _submit(numbers: Iterable[int]) -> None:
    """Jobs of several customers, sent as an application sends them."""
    from tests.photographs.release.tasks import build_report

    for number in numbers:
        customer = CUSTOMERS[number % len(CUSTOMERS)]
        build_report.send_with_options(kwargs={"customer": customer, "month": "2026-10"}, partition_key=customer)


def _until(states: Iterable[str], number: int) -> None:
    wait_until(
        lambda: _count(states) >= number, seconds=_PATIENCE_SECONDS, what=f"{number} jobs to be {'/'.join(states)}"
    )


def _count(states: Iterable[str]) -> int:
    from queueadmin.models import Job

    found: Any = Job.objects.filter(queue=QUEUE, state__in=list(states))
    time.sleep(0.1)
    return int(found.count())
