"""Liveness, readiness and workers, for load balancers, probes and `manage.py up`.

Each answer is JSON: `status`, and for every part that was asked its own `status`, the milliseconds that it took, and
the `reason` where it is not "ok". Nobody needs a key, so nothing here costs much, or names hosts or settings.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from queueadmin import inspection, selectors
from queueadmin.broker import get_ledger_broker

logger = logging.getLogger(__name__)

State = dict[str, Any]
_OK, _UNAVAILABLE = "ok", "unavailable"


@require_safe
@never_cache
def live(request: HttpRequest) -> JsonResponse:
    """200 while the process answers at all; looks at nothing else, so an outage elsewhere restarts nobody."""
    return JsonResponse({"status": _OK})


@require_safe
@never_cache
def ready(request: HttpRequest) -> JsonResponse:
    """200 when requests can be served: the database answers and is migrated; 503 otherwise.

    The broker's state is shown but does not count: submissions are accepted while it is down.
    """
    database = _timed(_database_problem)
    return _answer(database["status"] == _OK, database=database, broker=_broker())


@require_safe
@never_cache
def workers(request: HttpRequest) -> JsonResponse:
    """200 when every queue of this service has at least one live worker that takes jobs from it; 503 otherwise."""
    serving: dict[str, int] = {}
    database = _timed(lambda: _count_workers(serving))
    if database["status"] != _OK:
        return _answer(False, database=database)
    idle = [queue for queue, count in serving.items() if not count]
    reason = {"reason": f"No live worker takes jobs from: {', '.join(idle)}."} if idle else {}
    queues = {queue: {"status": _OK if count else _UNAVAILABLE, "workers": count} for queue, count in serving.items()}
    return _answer(not idle, **reason, queues=queues, database=database)


def _answer(is_ok: bool, **parts: object) -> JsonResponse:
    return JsonResponse({"status": _OK if is_ok else _UNAVAILABLE, **parts}, status=200 if is_ok else 503)


def _timed(look: Callable[[], str]) -> State:
    """The state of the database: `look` returns what is wrong with it, or ""."""
    started = time.perf_counter()
    try:
        reason = look()
    except Error as error:
        logger.warning("database not ready", extra={"error": type(error).__name__})
        reason = f"The database does not answer: {type(error).__name__}."
    took = {"latency_ms": round((time.perf_counter() - started) * 1000, 2)}
    return {"status": _UNAVAILABLE, **took, "reason": reason} if reason else {"status": _OK, **took}


_migrated: set[str] = set()
"""Databases that this process has seen with every migration. Nobody takes migrations back under a running service,
and reading them all costs 8 ms of processor time, which anybody could ask for again and again without a key."""


def _database_problem() -> str:
    connection = connections[DEFAULT_DB_ALIAS]
    name = str(connection.settings_dict["NAME"])
    if name in _migrated:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return ""
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        return f"{len(missing)} migrations are missing: run manage.py migrate."
    _migrated.add(name)
    return ""


def _broker() -> State:
    """Asked once, with the short time-out that submissions have, too."""
    found = inspection.health(get_ledger_broker().ready_sets)
    if found.error:
        return {"status": _UNAVAILABLE, "reason": f"{found.error} Submissions are accepted; nothing is processed."}
    return {"status": _OK, "latency_ms": round(found.latency_ms or 0.0, 2)}


def _count_workers(serving: dict[str, int]) -> str:
    """Fill in the live workers of every queue that this service's actors use."""
    alive = [worker for worker in selectors.workers() if worker.state == "alive"]
    actors = get_ledger_broker().actors.values()
    for queue in sorted({actor.queue_name for actor in actors}):
        serving[queue] = sum(queue in worker.queues for worker in alive)
    return ""
