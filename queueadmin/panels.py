"""How an application adds its own panels to the page of a job.

    from queueadmin.panels import Panel, register

    @register("ingest_document")
    def request_panels(job: Job) -> list[Panel]:
        return [Panel(title="Request", template="documents/request_panel.html", context={...})]

Call it where the application's admin is defined. Providers only read; each costs its queries once
per page.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from queueadmin.models import Job


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A box on the job's page. `template` gets `context` and nothing else."""

    title: str
    template: str
    context: dict[str, Any] = field(default_factory=dict)


Provider = Callable[[Job], list[Panel]]

_providers: dict[str, list[Provider]] = {}


def register(actor: str) -> Callable[[Provider], Provider]:
    """Show the decorated function's panels on the pages of jobs of `actor`."""

    def remember(provider: Provider) -> Provider:
        _providers.setdefault(actor, []).append(provider)
        return provider

    return remember


def panels_of(job: Job) -> list[Panel]:
    """Every panel of a job, in the order of registration."""
    return [panel for provider in _providers.get(job.actor, []) for panel in provider(job)]
