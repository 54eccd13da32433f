"""`manage.py api_key create|list|revoke`."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.utils import timezone

from documents import api_keys
from documents.exceptions import DocumentError
from documents.models import DEFAULT_TENANT, ApiKey, Scope
from queueadmin.audit import Who, audited, shell_user
from queueadmin.management.quiet import without_info_lines

_MAX_DAYS = 36_500


class Command(BaseCommand):
    help = "Make, list and revoke the keys with which clients use the API."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="create|list|revoke")
        create = actions.add_parser("create", help="make a key and print it: the only time that it is shown")
        create.add_argument("name", type=_name, help="who uses it, for your own overview")
        create.add_argument(
            "--scopes", type=_scopes, required=True, help="by commas: submit, read, operate", metavar="SCOPES"
        )
        create.add_argument(
            "--tenant", default=DEFAULT_TENANT, help="whose documents it reaches (default: %(default)s)"
        )
        create.add_argument("--key-prefix", help="where a new tenant's documents lie (default: its name and a slash)")
        create.add_argument(
            "--all-tenants",
            action="store_true",
            help="with the scope operate: pauses and purges queues, sees all dead letters (where there are tenants)",
        )
        create.add_argument("--expires-days", type=_days, help="days until it expires (default: never)")
        create.add_argument("--json", action="store_true", help="print one JSON object")
        listing = actions.add_parser("list", help="show all keys, without the keys themselves")
        listing.add_argument("--json", action="store_true", help="print a JSON array")
        revoke = actions.add_parser("revoke", help="make a key useless, at once and for good; takes its id or prefix")
        revoke.add_argument("key", help="its id, or its prefix as `list` shows it")
        revoke.add_argument("--json", action="store_true", help="print one JSON object")

    @without_info_lines("queueadmin", "documents")
    def handle(self, *args: Any, **options: Any) -> None:
        try:
            {"create": self._create, "list": self._list, "revoke": self._revoke}[options["action"]](options)
        except DocumentError as error:
            raise CommandError(error.message) from error

    def _create(self, options: dict[str, Any]) -> None:
        days = options["expires_days"]
        with audited("issue_api_key", f"{options['tenant']}: {options['name']}", 1, **_who()) as log:
            issued = api_keys.issue(
                options["name"],
                scopes=options["scopes"],
                tenant=options["tenant"],
                key_prefix=options["key_prefix"],
                all_tenants=options["all_tenants"],
                expires_at=timezone.now() + timedelta(days=days) if days is not None else None,
            )
            log.done, log.detail = 1, issued.told
        if options["json"]:
            self._print_json({"key": issued.key, **_as_dict(issued.record)})
            return
        record = issued.record
        where = f'keys below "{record.tenant.key_prefix}"' if record.tenant.key_prefix else "keys of no other tenant"
        self.stdout.write(f"{issued.key}\n")
        self.stderr.write(
            f"Written to {_database()}.\n"
            f"API key {record.pk} for tenant {record.tenant_id} ({where}), scopes {', '.join(record.scopes)}, "
            f"{_expiry(record.expires_at)}. Keep it now: it is not shown again.\n"
            f'Use it as the header "Authorization: Bearer <key>".',
            style_func=str,  # an explanation, not an error: without the red of this stream
        )

    def _list(self, options: dict[str, Any]) -> None:
        records = list(ApiKey.objects.select_related("tenant").order_by("pk"))
        if options["json"]:
            self._print_json([_as_dict(record) for record in records])
        elif not records:
            self.stdout.write("There are no API keys yet. Make one: manage.py api_key create NAME --scopes submit,read")
        else:
            _table(self, [_row(record) for record in records])

    def _revoke(self, options: dict[str, Any]) -> None:
        # No more of it than a prefix has: somebody may name the key itself.
        with audited("revoke_api_key", options["key"][:12], 1, **_who()) as log:
            record = api_keys.revoke(options["key"])
            log.done, log.detail = 1, {"prefix": record.prefix, "name": record.name}
        if options["json"]:
            self._print_json(_as_dict(record))
        else:
            self.stdout.write(f"API key {record.pk} ({record.name}) is revoked.")

    def _print_json(self, value: Any) -> None:
        self.stdout.write(json.dumps(value, indent=2, default=_time))


def _who() -> Who:
    return {"by": shell_user(), "source": "cli"}


def _database() -> str:
    """Which database the commands work on, as a person knows it: a file, or name and server. No user, no password."""
    given = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"the database {given['NAME']}"
    where = ":".join(str(part) for part in (given["HOST"] or "this machine", given["PORT"]) if part)
    return f"the database {given['NAME']} at {where}"


def _as_dict(record: ApiKey) -> dict[str, Any]:
    return {
        "id": record.pk,
        "name": record.name,
        "tenant": record.tenant_id,
        "key_prefix": record.tenant.key_prefix,
        "prefix": record.prefix,
        "scopes": record.scopes,
        "all_tenants": record.all_tenants,
        "state": _state(record),
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "revoked_at": record.revoked_at,
        "last_used_at": record.last_used_at,
    }


_HEAD = ("ID", "NAME", "TENANT", "PREFIX", "SCOPES", "STATE", "EXPIRES", "LAST USED")


def _row(record: ApiKey) -> tuple[str, ...]:
    return (
        str(record.pk), record.name, "(all)" if record.all_tenants else record.tenant_id, record.prefix + "…",
        ",".join(record.scopes), _state(record), _day(record.expires_at), _day(record.last_used_at),
    )  # fmt: skip


def _table(command: BaseCommand, rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(_HEAD, *rows, strict=True)]
    for row in (_HEAD, *rows):
        command.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _state(record: ApiKey) -> str:
    if record.revoked_at is not None:
        return "revoked"
    return "expired" if record.expires_at is not None and record.expires_at <= timezone.now() else "active"


def _expiry(expires_at: datetime | None) -> str:
    return f"expires {expires_at:%Y-%m-%d %H:%M} UTC" if expires_at else "never expires"


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "-"


def _time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _name(text: str) -> str:
    if not text.strip() or len(text) > 100 or not text.isprintable():
        raise ArgumentTypeError("a name is 1 to 100 printable characters")
    return text.strip()


def _scopes(text: str) -> list[str]:
    scopes = [part.strip() for part in text.split(",") if part.strip()]
    if not scopes or not set(scopes) <= set(Scope.values):
        raise ArgumentTypeError(f"scopes are one or more of {', '.join(Scope.values)}, separated by commas")
    return scopes


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = 0.0
    if not 0 < days <= _MAX_DAYS:
        raise ArgumentTypeError(f"a number of days above 0, at most {_MAX_DAYS}")
    return days
