"""A submission in one short view: one key lookup, three inserts in one transaction, one ZADD."""

from __future__ import annotations

import hashlib
import time
import uuid
from types import SimpleNamespace
from typing import Any

import redis
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from documents.models import ApiKey, IngestionTask
from queueadmin.models import Job, JobEvent

_redis = redis.Redis.from_url(settings.QUEUEADMIN["REDIS_URL"])
_READY = "{ingestion}:ready:" + settings.QUEUE_NAME + ":normal"


class KeyAuthentication(BaseAuthentication):
    """Looks the key's hash up, and nothing more."""

    def authenticate(self, request: Request) -> tuple[Any, None]:
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        row = (
            ApiKey.objects.filter(hash=hashlib.sha256(key.encode()).hexdigest()).values_list("pk", "tenant_id").first()
        )
        if row is None:
            raise AuthenticationFailed()
        return SimpleNamespace(is_authenticated=True, pk=row[0], tenant=row[1]), None


class Submit(APIView):
    """Writes the rows that our API writes for the same request."""

    authentication_classes = (KeyAuthentication,)
    permission_classes = (IsAuthenticated,)

    def post(self, request: Request) -> Response:
        data, tenant, task_id, now = request.data, request.user.tenant, uuid.uuid4(), timezone.now()
        order_key = time.time_ns() // 1000
        with transaction.atomic():
            Job.objects.bulk_create([self._job(data, tenant, task_id, order_key, now)])
            JobEvent.objects.bulk_create([JobEvent(job_id=task_id, edge="submit", attempt=0, at=now)])
            IngestionTask.objects.bulk_create([IngestionTask(job_id=task_id, tenant=tenant, created_at=now, **data)])
        _redis.zadd(_READY, {task_id.hex: order_key}, nx=True)
        url = f"/api/documents/task/{task_id}/status"
        answer = {"task_id": str(task_id), "status": "queued", "status_url": request.build_absolute_uri(url)}
        return Response(answer, status=202, headers={"Location": url})

    def _job(self, data: dict[str, Any], tenant: str, task_id: uuid.UUID, order_key: int, now: Any) -> Job:
        arguments = {name: data[name] for name in ("r2_key", "file_name", "content_type", "file_size")}
        follow_up = {"actor": "deliver_webhook", "queue": "webhooks", "priority": 0, "max_attempts": 8}
        payload = {"args": [], "kwargs": {"tenant": tenant, **arguments}, "options": {"follow_up": follow_up}}
        return Job(
            id=task_id, queue=settings.QUEUE_NAME, actor="ingest_document", state="pending", priority=data["priority"],
            order_key=order_key, partition_key=tenant, payload=payload, max_attempts=settings.MAX_ATTEMPTS,
            created_at=now,
        )  # fmt: skip
