"""What an end-to-end test does with the service: put documents, submit tasks, start workers, wait, look."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from documents import services
from queueadmin.models import Job, JobEvent, JobProgress
from queueadmin.states import TERMINAL
from tests import servers
from tests.conftest import WorkerFactory


@dataclass
class Service:
    """One service. `variables` are its workers' environment, beside database and Valkey of the test."""

    data_dir: Path
    start_worker: WorkerFactory
    put: Callable[[str, bytes], None]
    variables: dict[str, str]

    def worker(self, *options: str, threads: int = 2, processes: int = 1, **variables: str) -> servers.ManageCommand:
        """A worker that has booted."""
        return self.start_worker(
            threads=threads, processes=processes, variables={**self.variables, **variables}, options=options
        )

    def submit(self, key: str, **fields: Any) -> UUID:
        """Accept a task as the API does; its id."""
        given: dict[str, Any] = {
            "tenant": "default", "document_id": "doc-1", "user_id": "user-1", "file_name": Path(key).name,
            "r2_key": key, "content_type": "application/octet-stream", "metadata": {"case": "7"},
        }  # fmt: skip
        return services.submit(services.SubmitRequest(**(given | fields))).task_id

    def wait(self, *ids: UUID, seconds: float = 30.0) -> Mapping[UUID, Job]:
        """The jobs, once each of them has ended; TimeoutError names the states of those that have not."""
        deadline = time.monotonic() + seconds
        while True:
            jobs = Job.objects.in_bulk(ids)
            unfinished = [job.state for job in jobs.values() if job.state not in TERMINAL]
            if len(jobs) == len(ids) and not unfinished:
                return jobs
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(unfinished)} of {len(ids)} jobs did not end: {sorted(set(unfinished))}")
            time.sleep(0.05)

    def one(self, task_id: UUID, *, seconds: float = 30.0) -> Job:
        """The job of one task, once it has ended."""
        return self.wait(task_id, seconds=seconds)[task_id]

    def edges(self, task_id: UUID) -> list[str]:
        """The edges that the task's job took so far."""
        return list(JobEvent.objects.filter(job_id=task_id).order_by("id").values_list("edge", flat=True))

    def until_running(self, task_id: UUID, stage: str | None = None) -> None:
        """Wait until the task is being processed, and has reported `stage`."""

        def holds() -> bool:
            if stage is None:
                return Job.objects.filter(pk=task_id, state="processing").exists()
            return JobProgress.objects.filter(job_id=task_id, stage=stage).exists()

        servers.wait_until(holds, what=f"{task_id} to be processed, stage {stage}")
