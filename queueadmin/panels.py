"""How an application adds its own panels and options to the page of a job, and its own figures to the overview.

    from queueadmin.panels import Figure, Panel, register, register_figures

    @register("ingest_document")
    def request_panels(job: Job) -> list[Panel]:
        return [Panel(title="Request", template="documents/request_panel.html", context={...})]

    register_options("ingest_document", JobOptions(form=ReadingForm, read=..., write=...))  # of "retry with changes"

    @register_figures
    def figures(overview: Overview) -> list[Figure]:
        return [Figure(label="webhooks waiting", value=12, url="/admin/queueadmin/job/?q=actor:deliver_webhook")]

Call them where the application's admin is defined. Providers only read; each costs its queries once
per page, and the overview is read again every few seconds by everybody who looks at it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django import forms

from queueadmin.inspection import Overview
from queueadmin.models import Job


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A box on the job's page. `template` gets `context` and nothing else."""

    title: str
    template: str
    context: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number on the overview, which leads to the rows behind it."""

    label: str
    value: int | str
    url: str
    is_bad: bool = False
    """Whether somebody has to do something about it."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Something that the service needs, and whether it works now."""

    name: str
    is_up: bool
    detail: str = ""
    """In a few words: what it is, or what is wrong."""
    url: str = ""


Provider = Callable[[Job], list[Panel]]
FigureProvider = Callable[[Overview], list[Figure]]
PartProvider = Callable[[], Part]

_providers: dict[str, list[Provider]] = {}
_figures: list[FigureProvider] = []
_parts: list[PartProvider] = []


def register(actor: str) -> Callable[[Provider], Provider]:
    """Show the decorated function's panels on the pages of jobs of `actor`."""

    def remember(provider: Provider) -> Provider:
        _providers.setdefault(actor, []).append(provider)
        return provider

    return remember


def panels_of(job: Job) -> list[Panel]:
    """Every panel of a job, in the order of registration."""
    return [panel for provider in _providers.get(job.actor, []) for panel in provider(job)]


def register_figures(provider: FigureProvider) -> FigureProvider:
    """Show the decorated function's figures on the overview, after the queue's own."""
    _figures.append(provider)
    return provider


def register_part(provider: PartProvider) -> PartProvider:
    """Show the decorated function's part among those that the overview says to be up or down. It must answer soon."""
    _parts.append(provider)
    return provider


def more_figures(overview: Overview) -> list[Figure]:
    """Every application's figures, in the order of registration."""
    return [figure for provider in _figures for figure in provider(overview)]


def more_parts() -> list[Part]:
    """Every application's parts, as above."""
    return [provider() for provider in _parts]


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """What people may change of an actor's keyword arguments when they retry one of its jobs.

    `read` makes the form's initial data of the arguments as they are; `write` returns the arguments with the form's
    cleaned data in their places. Both only compute.
    """

    form: type[forms.Form]
    read: Callable[[dict[str, Any]], dict[str, Any]]
    write: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]


_options: dict[str, JobOptions] = {}


def register_options(actor: str, options: JobOptions) -> None:
    """Offer these options when a job of `actor` is retried with changes."""
    _options[actor] = options


def options_of(job: Job) -> JobOptions | None:
    """What its application lets people change of a job."""
    return _options.get(job.actor)
