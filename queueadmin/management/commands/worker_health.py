"""`manage.py worker_health`: for the health check of a container or a service manager that runs workers."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError

from queueadmin import presence, selectors
from queueadmin.selectors import Worker


class Command(BaseCommand):
    """Exits with 0 while a worker beats, with 1 and one line that says why not otherwise."""

    help = "Exit 0 while a worker process of this host (or container) beats, 1 otherwise."
    requires_system_checks: list[str] = []  # it runs every half minute

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--worker-id",
            metavar="NAME",
            help="look at this worker only: its --worker-id, or its name or number in `manage.py queue workers`",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = options["worker_id"]
        try:
            found = [worker for worker in selectors.workers() if _is_meant(worker, wanted)]
        except (DatabaseError, InterfaceError) as error:
            raise CommandError(f"The database did not answer: {type(error).__name__}. Check DATABASE_URL.") from error
        beating = [worker for worker in found if worker.state == "alive"]
        if not beating:
            raise CommandError(_complaint(found, wanted))
        for worker in beating:
            self.stdout.write(f"{worker.name}: alive, last beat {worker.silent_for:.1f} s ago")


def _is_meant(worker: Worker, wanted: str | None) -> bool:
    """Whether it is the wanted worker, or one of this host, boot and process namespace."""
    if wanted is None:
        return worker.host == presence.identify(0).host
    return wanted in (worker.name, str(worker.id)) or worker.name.startswith(f"{wanted}:")


def _complaint(found: list[Worker], wanted: str | None) -> str:
    if found:
        return "; ".join(f"{worker.name} is {worker.state}: no beat for {worker.silent_for:.0f} s" for worker in found)
    return "No worker runs on this host." if wanted is None else f"No worker {wanted} runs."
