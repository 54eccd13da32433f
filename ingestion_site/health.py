"""Liveness and readiness, for load balancers and `manage.py up`."""

import logging

import redis
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from queueadmin.conf import parse
from queueadmin.redis_client import connect

logger = logging.getLogger(__name__)

BROKER_TIMEOUT_SECONDS = 0.5


@require_safe
@never_cache
def live(request: HttpRequest) -> JsonResponse:
    """200 while the process answers at all; looks at nothing else, so an outage elsewhere restarts nobody."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def ready(request: HttpRequest) -> JsonResponse:
    """200 when requests can be served: the database answers and is migrated; 503 otherwise.

    The broker's state is shown but does not count: submissions are accepted while it is down.
    """
    database = _database_state()
    is_ready = database == "ok"
    body = {"status": "ok" if is_ready else "unavailable", "database": database, "broker": _broker_state()}
    return JsonResponse(body, status=200 if is_ready else 503)


_migrated: set[str] = set()
"""Databases that this process has seen with every migration. Nobody takes migrations back under a running service,
and reading them all costs 8 ms of processor time, which anybody could ask for again and again without a key."""


def _database_state() -> str:
    connection = connections[DEFAULT_DB_ALIAS]
    name = str(connection.settings_dict["NAME"])
    try:
        if name in _migrated:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            return "ok"
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except Error as error:
        logger.warning("database not ready", extra={"error": type(error).__name__})
        return "unreachable"
    if missing:
        return "migrations missing"
    _migrated.add(name)
    return "ok"


def _broker_state() -> str:
    queue = parse(settings.QUEUEADMIN)
    client = connect(queue.redis, namespace=queue.namespace, timeout=BROKER_TIMEOUT_SECONDS)
    try:
        client.ping()
    except redis.RedisError:
        return "unreachable"
    finally:
        client.close()
    return "ok"
