"""`manage.py tenant list|show|set|rotate-secret|enable-webhooks|reencrypt`: what operators set for each tenant."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from documents import throttling, webhooks
from documents.callbacks import endpoints, secrets
from documents.exceptions import DocumentError
from documents.models import Tenant
from queueadmin import operations, selectors
from queueadmin.exceptions import QueueAdminError

_NONE = "none"
_RATES = {"requests_per_minute": "API requests", "documents_per_minute": "submitted documents"}


class Command(BaseCommand):
    help = "Show and set what is particular to a tenant: limits, webhook endpoint, webhook secrets."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

        def add(name: str, text: str, *, slug: bool = True) -> CommandParser:
            made: CommandParser = actions.add_parser(name, help=text, description=text)
            made.add_argument("--json", action="store_true", help="print JSON")
            if slug:
                made.add_argument("slug", help="the tenant")
            return made

        add("list", "Show all tenants.", slug=False)
        add("show", "Show one tenant.")
        change = add("set", f"Change one tenant; {_NONE} takes a value away.")
        change.add_argument("--webhook-url", metavar="URL", help="where events go that name no callback URL")
        for name, what in _RATES.items():
            text = f"at most N {what} a minute; 0: any; {_NONE}: as the settings say"
            change.add_argument(_option(name), type=_number, metavar="N", help=text)
        change.add_argument("--running", type=_number, metavar="N", help="documents of theirs that run at once")
        rotate = add("rotate-secret", "Make a webhook secret and print it: the only time that it is shown.")
        rotate.add_argument(
            "--overlap-hours", type=_hours, default=24.0, help="the one before signs so long (default: %(default)g)"
        )
        add("enable-webhooks", "Let webhooks go again to addresses that answered 410 Gone.")
        add("reencrypt", "Put all stored secrets under the first of ENCRYPTION_KEYS.", slug=False)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, "_" + options["action"].replace("-", "_"))(options)
        except (DocumentError, QueueAdminError) as error:
            raise CommandError(str(error)) from error

    def _list(self, options: dict[str, Any]) -> None:
        found = [_as_dict(tenant) for tenant in Tenant.objects.order_by("slug")]
        if options["json"]:
            self._print_json(found)
        for one in [] if options["json"] else found:
            self.stdout.write(_line(one))

    def _show(self, options: dict[str, Any]) -> None:
        one = _as_dict(_tenant(options["slug"]))
        if options["json"]:
            self._print_json(one)
            return
        for name, value in one.items():
            self.stdout.write(f"{name.replace('_', ' ')}: {'-' if value in (None, '', []) else value}")

    def _set(self, options: dict[str, Any]) -> None:
        tenant = _tenant(options["slug"])
        who = {"by": operations.shell_user(), "source": "cli"}
        if options["webhook_url"] is not None:
            webhooks.set_endpoint(tenant.slug, "" if options["webhook_url"] == _NONE else options["webhook_url"], **who)
        rates = {name: _given(options[name]) for name in _RATES if options[name] is not None}
        if rates:
            throttling.set_rates(tenant.slug, rates, **who)
        if options["running"] is not None:
            operations.set_limit(_given(options["running"]), queue=settings.QUEUE_NAME, partition=tenant.slug, **who)
        self._show(options)

    def _rotate_secret(self, options: dict[str, Any]) -> None:
        made = webhooks.rotate_secret(
            _tenant(options["slug"]).slug,
            overlap=timedelta(hours=options["overlap_hours"]),
            by=operations.shell_user(),
            source="cli",
        )
        if options["json"]:
            self._print_json({"secret": made.secret, "previous_until": made.previous_until})
            return
        self.stdout.write(made.secret)
        self.stderr.write(
            f"Keep it now: it is not shown again. The one before signs as well until {made.previous_until:%F %R} UTC.",
            style_func=str,  # an explanation, not an error: without the red of this stream
        )

    def _enable_webhooks(self, options: dict[str, Any]) -> None:
        enabled = endpoints.enable(_tenant(options["slug"]).slug)
        if options["json"]:
            self._print_json({"enabled": enabled})
        else:
            self.stdout.write(f"{enabled} address{' is' if enabled == 1 else 'es are'} enabled again.")

    def _reencrypt(self, options: dict[str, Any]) -> None:
        done = secrets.reencrypt()
        if options["json"]:
            self._print_json({"reencrypted": done})
        else:
            self.stdout.write(f"{done} secret{' is' if done == 1 else 's are'} under the first key.")

    def _print_json(self, value: Any) -> None:
        self.stdout.write(json.dumps(value, indent=2, default=_time))


def _tenant(slug: str) -> Tenant:
    found = Tenant.objects.filter(slug=slug).first()
    if found is None:
        raise CommandError(
            f"There is no tenant {slug!r}. A tenant is made with its first key: manage.py api_key create."
        )
    return found


def _as_dict(tenant: Tenant) -> dict[str, Any]:
    endpoint = webhooks.endpoint(tenant.slug)
    running = [
        one for one in selectors.limits_in_force() if (one.queue, one.partition) == (settings.QUEUE_NAME, tenant.slug)
    ]
    return {
        "tenant": tenant.slug,
        "key_prefix": tenant.key_prefix,
        "webhook_url": endpoint.url,
        "webhook_disabled_at": endpoint.disabled_at,
        "webhook_secrets": len(endpoint.secrets),
        "requests_per_minute": tenant.requests_per_minute,
        "documents_per_minute": tenant.documents_per_minute,
        "running_limit": running[0].limit if running else None,
    }


def _line(one: dict[str, Any]) -> str:
    told = [f"{name.replace('_', ' ')} {one[name]}" for name in ("running_limit", *_RATES) if one[name] is not None]
    if one["webhook_url"]:
        told.append("has a webhook endpoint" + (", disabled" if one["webhook_disabled_at"] else ""))
    return f"{one['tenant']}: {'; '.join(told) or 'nothing in particular'}"


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _given(value: int | str) -> int | None:
    return None if isinstance(value, str) else value


def _number(text: str) -> int | str:
    if text == _NONE:
        return text
    if not text.isascii() or not text.isdigit() or int(text) > operations.MAX_LIMIT:
        raise ArgumentTypeError(f"a whole number from 0 to {operations.MAX_LIMIT:,}, or {_NONE}")
    return int(text)


def _hours(text: str) -> float:
    most = webhooks.MAX_OVERLAP.total_seconds() / 3600
    try:
        hours = float(text)
    except ValueError:
        hours = -1.0
    if not 0 <= hours <= most:
        raise ArgumentTypeError(f"hours from 0 to {most:g}")
    return hours


def _time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
