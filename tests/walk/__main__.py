"""`python -m tests.walk`: what docs/operations.md promises an operator, one step after the other, on real servers.

PostgreSQL, a Valkey with a password and the service's ACL user, a bucket, two web servers and two worker hosts;
documents come in all the time; a host is killed, the alert fires in a real Prometheus, hosts are added, and all are
replaced by SIGTERM under load. Then what was accepted is compared with what became of it; and a backup from the middle
of all that is restored, and compared again. Exit code 1 if anything was lost.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx

from tests.receivers import Receiver, answer, receiver
from tests.servers import PROJECT_DIR, wait_until
from tests.walk.clients import SAMPLES, Backend
from tests.walk.stage import BUCKET, Stage, Unit, Web, Worker
from tests.walk.watch import HOW_TO_GET_IT, Prometheus, program, rule

ALERT = "IngestionWorkersDying"
_BURST = 100
"""Documents that wait when the workers begin, so that the host that is killed has its hands full."""
_BUSY = 8
"""Threads at work, of 16, before it is killed."""
_ALERT_SECONDS = 120.0
_DONE_SECONDS = 600.0


class Walk:
    """The steps, in their order."""

    def __init__(self, stage: Stage, inbox: Receiver) -> None:
        self.stage, self.inbox = stage, inbox
        self.began = time.monotonic()
        environment = stage.environment
        self.webs = [Web(f"web-{number}", environment) for number in (1, 2)]
        self.workers = {name: Worker(name, environment) for name in ("west-1", "east-1", "west-2", "east-2")}

    def run(self) -> bool:
        """All of it; whether nothing was lost."""
        self.install()
        prometheus = self.stage.enter_context(
            Prometheus([web.address for web in self.webs], self.stage.variables["METRICS_TOKEN"])
        )
        wait_until(lambda: prometheus.scraped() == len(self.webs), seconds=60, what="Prometheus to scrape both")
        backend = self.submit()
        with tempfile.TemporaryDirectory(prefix="walk-backup-") as folder:
            backup = Path(folder) / "ingestion.dump"
            saved = self.back_up(backend, backup)
            self.kill(prometheus, "west-1")
            self.scale_up()
            self.upgrade()
            backend.finish()
            self.tell(f"The backend stops. {len(backend.accepted)} documents were accepted.")
            return self.account(backend) and self.restore(backend, backup, saved)

    def install(self) -> None:
        """From empty servers to two web servers and two worker hosts that are healthy."""
        self.title("Install")
        for name in SAMPLES:
            self.stage.client.upload_file(str(PROJECT_DIR / "samples" / name), BUCKET, name)
        self.command("migrate", "--no-input", last=1)
        self.command("check", "--deploy", "--database", "default", "--tag", "servers")
        self.command("createsuperuser", "--no-input", "--username", "root", "--email", "root@example.com")
        self.key = self.command("api_key", "create", "backend", "--scopes", "submit,read", shown=False).strip()
        for unit in (*self.webs, self.workers["west-1"], self.workers["east-1"]):
            self.start(unit)
        self.get("/health/workers")
        self.command("queue", "workers")

    def submit(self) -> Backend:
        """Documents come in all the time, from here to the end."""
        self.title("Submit")
        addresses = [web.address for web in self.webs]
        backend = Backend(addresses=addresses, key=self.key, callback_url=self.inbox.url, every=0.25)
        self.command("queue", "pause", "document_ingestion", "--reason", "until a backlog has formed")
        for _ in range(_BURST):
            backend.submit()
        backend.start()
        self.tell(f"{_BURST} documents wait, and four a second come from now on, each with a callback URL.")
        self.command("queue", "stats")
        return backend

    def back_up(self, backend: Backend, file: Path) -> set[str]:
        """Save the database while workers work and documents come in; the tasks that are certainly in it."""
        self.title("Back up")
        saved = set(backend.accepted)
        self.stage.back_up(file)
        self.tell(f"pg_dump --format=custom: {len(saved)} tasks had been accepted, {self.unfinished()} jobs were open")
        return saved

    def kill(self, prometheus: Prometheus, name: str) -> None:
        """A host goes, without a word."""
        self.title("Kill a worker host")
        self.command("queue", "resume", "document_ingestion")
        wait_until(lambda: self.busy() >= _BUSY, what="busy workers", every=0.2)
        self.tell(f"kill -9 of everything on {name}")
        os.killpg(self.workers[name].pid, signal.SIGKILL)
        killed = time.monotonic()
        wait_until(
            lambda: prometheus.alerts().get(ALERT) == "firing", seconds=_ALERT_SECONDS, what=f"{ALERT} to fire", every=1
        )
        self.tell(f"{ALERT} fires {time.monotonic() - killed:.0f} s later. Its expression, and what it yields:")
        show(f"{rule(ALERT)}\n{prometheus.value(rule(ALERT))}\n")
        self.command("queue", "workers", "--all")
        self.metrics("queueadmin_jobs_rescued_total", "queueadmin_workers")

    def scale_up(self) -> None:
        self.title("Scale up")
        for name in ("west-2", "east-2"):
            self.start(self.workers[name])
        self.metrics("queueadmin_workers", "queueadmin_worker_threads")

    def upgrade(self) -> None:
        """Migrations first, then workers, then web servers, all under load."""
        self.title("Upgrade")
        self.command("migrate", "--plan")
        self.command("migrate", "--no-input", last=1)
        for unit in (*(self.workers[name] for name in ("east-1", "west-2", "east-2")), *self.webs):
            began = time.monotonic()
            code = unit.stop(35)
            self.tell(f"SIGTERM to {unit.name}: exit code {code} after {time.monotonic() - began:.1f} s")
            self.start(unit)

    def account(self, backend: Backend) -> bool:
        """What became of everything that was accepted."""
        self.title("Nothing lost")
        wait_until(lambda: self.unfinished() == 0, seconds=_DONE_SECONDS, what="all jobs to end", every=1)
        states, told = Counter(map(backend.state, backend.accepted)), self.told()
        self.metrics('queueadmin_jobs_finished_total{actor="ingest_document"')
        self.command("queue", "dead-letters")
        self.command("queue", "repair", "--dry-run")
        self.tell(
            f"Accepted {len(backend.accepted)}; by the API: {dict(states)}; webhooks: {len(told)} different ones, "
            f"{told.total() - len(told)} of them twice. Tries that the backend had to repeat: "
            f"{dict(backend.unanswered) or 'none'}."
        )
        return states == {"completed": len(backend.accepted)} and len(told) == len(backend.accepted)

    def restore(self, backend: Backend, file: Path, saved: set[str]) -> bool:
        """The database as it was; Redis keeps what it has. Whether everything in the backup is done again."""
        self.title("Restore")
        before, workers = self.told(), [self.workers[name] for name in ("east-1", "west-2", "east-2")]
        for unit in (*self.webs, *workers):
            unit.stop(35)
        self.stage.restore(file)
        self.tell("All stopped; pg_restore --clean --if-exists; all started again")
        for unit in (*self.webs, *workers):
            self.start(unit)
        for arguments in (("migrate", "--check"), ("cleanup_tasks", "--dry-run"), ("audit", "verify")):
            self.command(*arguments)
        self.command("queue", "resume", "document_ingestion")  # it was paused when the backup was made
        wait_until(lambda: self.unfinished() == 0, seconds=_DONE_SECONDS, what="all jobs to end", every=1)
        states = Counter(map(backend.state, saved))
        again = self.told() - before
        self.tell(
            f"The {len(saved)} tasks of the backup: {dict(states)}. Webhooks that came again: {again.total()}, "
            f"of which {len(set(again) - set(before))} under a new id."
        )
        return states == {"completed": len(saved)} and set(again) <= set(before)

    def told(self) -> Counter[str]:
        """How often each webhook came."""
        return Counter(request.headers["webhook-id"] for request in self.inbox.received)

    def unfinished(self) -> int:
        """Jobs of documents and webhooks that have not ended, from a web server's metrics."""
        queues, states = "document_ingestion|webhooks", "pending|scheduled|retrying|processing"
        return self.sum_of(rf'queueadmin_jobs{{.*queue="({queues})",state="({states})"}}')

    def busy(self) -> int:
        """Threads of all workers that run a job."""
        return self.sum_of('queueadmin_worker_threads{state="busy"}')

    def sum_of(self, pattern: str) -> int:
        """All samples of /metrics that begin so, added up."""
        lines = [line for line in self.scrape() if re.match(pattern, line)]
        return sum(int(float(line.rpartition(" ")[2])) for line in lines)

    def start(self, unit: Unit) -> None:
        began = time.monotonic()
        self.stage.callback(unit.close) if unit.process is None else None
        unit.start()
        self.tell(f"{unit.name} is up after {time.monotonic() - began:.1f} s")

    def command(self, *arguments: str, last: int = 12, shown: bool = True) -> str:
        """Run manage.py, and show the last lines of what it says."""
        done = self.stage.manage(*arguments)
        said = done.stdout.strip()
        show(f"$ manage.py {' '.join(arguments)}")
        lines = said.splitlines() if shown else ["(a key, shown once)"]
        show("\n".join([*(["…"] if len(lines) > last else []), *lines[-last:]]) + "\n")
        if done.returncode:
            raise SystemExit(f"exit code {done.returncode}: {done.stderr}")
        return said

    def get(self, path: str) -> None:
        address = self.webs[0].address
        show(f"$ curl http://{address}{path}\n{httpx.get(f'http://{address}{path}', timeout=10).text}\n")

    def scrape(self) -> list[str]:
        token = self.stage.variables["METRICS_TOKEN"]
        headers = {"Authorization": f"Bearer {token}"}
        text = httpx.get(f"http://{self.webs[-1].address}/metrics", headers=headers, timeout=30).raise_for_status().text
        return text.splitlines()

    def metrics(self, *names: str) -> None:
        """Those lines of /metrics that begin so, but for zeros of actors that have nothing to do with it."""
        lines = [line for line in self.scrape() if line.startswith(names) and not line.endswith("} 0.0")]
        show(f"$ curl -H 'Authorization: Bearer …' http://{self.webs[-1].address}/metrics")
        show("\n".join(lines) + "\n")

    def title(self, text: str) -> None:
        show(f"## {text}, {time.monotonic() - self.began:.0f} s\n")

    def tell(self, text: str) -> None:
        show(f"# {text}\n")


def show(text: str) -> None:
    """A line of the transcript, at once: somebody watches."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    if program() is None:
        sys.stderr.write(f"{HOW_TO_GET_IT}\n")
        return 1
    with receiver(answer(204)) as inbox, Stage() as stage:
        stage.variables["DJANGO_SUPERUSER_PASSWORD"] = os.urandom(16).hex()
        is_sound = Walk(stage, inbox).run()
    show("Nothing was lost." if is_sound else "SOMETHING WAS LOST.")
    return 0 if is_sound else 1


if __name__ == "__main__":
    sys.exit(main())
