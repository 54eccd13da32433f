"""The paths below /api/queues."""

from __future__ import annotations

from django.urls import path, re_path
from django.views.decorators.common import no_append_slash

from documents.api import base, queues
from documents.api.urls import endpoint

urlpatterns = [
    path("", queues.Queues.as_view(schema=None), name="queues"),
    *endpoint("workers", queues.Workers, "workers"),
    *endpoint("dead-letters", queues.DeadLetters, "dead-letters"),
    *endpoint("dead-letters/retry", queues.RetryDeadLetters, "dead-letters-retry"),
    *endpoint("dead-letters/discard", queues.DiscardDeadLetters, "dead-letters-discard"),
    *endpoint("<str:queue>", queues.Queue, "queue"),
    *endpoint("<str:queue>/pause", queues.Pause, "queue-pause"),
    *endpoint("<str:queue>/resume", queues.Resume, "queue-resume"),
    *endpoint("<str:queue>/purge", queues.Purge, "queue-purge"),
    re_path("", no_append_slash(base.Nothing.as_view())),
]
