"""`manage.py check --deploy`: every weak setting of this service, with the variable to change.

| id | what |
|---|---|
| ingestion.W001 | a secret or password that can be guessed |
| ingestion.W002 | Redis on another machine, without a password |
| ingestion.W003 | Redis on another machine, without TLS |
| ingestion.W004 | PostgreSQL on another machine, without TLS |
| ingestion.W005 | SQLite: one machine, one writer at a time |
| ingestion.W006 | requests for any host name are answered |
| ingestion.W007 | webhooks may go to private addresses |
| ingestion.W008 | documents and keys for the object store travel in the clear |
| ingestion.W009 | passwords and API keys of the service's own users travel in the clear |
| ingestion.W010 | the service runs as root |
| ingestion.W011 | a file with secrets can be read by others on the machine |
| ingestion.W012 | a secret was made on this machine, and the database is shared with others, which make their own |

What Django finds besides (DEBUG, for one) it says itself.
"""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register

from ingestion_site.environment import PROJECT_DIR, Environment
from queueadmin.redis_client import RedisOptions

_LEAST_DISTINCT = 8
"""Different characters that a random text of 16 or more has, all but certainly."""

_PLACEHOLDERS = ("changeme", "change-me", "secret", "password", "insecure", "example")
"""None is shorter than six letters: a random text of a hundred would hold a word of four about once in ten thousand."""

_LOCAL = ("localhost", "127.0.0.1", "::1", "")
_TLS_MODES = ("require", "verify-ca", "verify-full")


@register(Tags.security, deploy=True)
def check_deployment(**kwargs: Any) -> list[CheckMessage]:
    """Every check of this page, on this process and its settings."""
    found: Environment = settings.ENVIRONMENT
    secrets = (found.data_dir / name for name in ("secret_key", "webhook_secret", "metrics_token"))
    files = (PROJECT_DIR / ".env", *secrets)
    return [*weak_settings(found), *_root(os.geteuid()), *_open_files(files)]


def weak_settings(found: Environment) -> Iterator[CheckMessage]:
    """W001 to W009 and W012, from the settings alone."""
    yield from _guessable(found)
    yield from _redis(found.redis)
    yield from _database(found)
    if "*" in found.allowed_hosts:
        yield _warning(6, "Requests for any host name are answered.", "Name the service's own in ALLOWED_HOSTS.")
    if found.webhook_allow_private:
        yield _warning(
            7,
            "Webhooks may go to private addresses.",
            "Unset WEBHOOK_ALLOW_PRIVATE where keys are given to people you do not trust with your network.",
        )
    if found.s3_endpoint_url.startswith("http://") and urlsplit(found.s3_endpoint_url).hostname not in _LOCAL:
        yield _warning(8, "Documents travel unencrypted.", "Give S3_ENDPOINT_URL as an https:// address.")
    if not found.behind_https_proxy:
        yield _warning(
            9,
            "Passwords and API keys travel unencrypted, and cookies may.",
            "Put a proxy that terminates HTTPS before the service and set BEHIND_HTTPS_PROXY=true.",
        )


def is_guessable(secret: str) -> bool:
    """Whether a text that should be random visibly is not."""
    lower = secret.lower()
    return len(secret) < 16 or len(set(secret)) < _LEAST_DISTINCT or any(word in lower for word in _PLACEHOLDERS)


def _guessable(found: Environment) -> Iterator[CheckMessage]:
    secrets = {
        "SECRET_KEY": [found.secret_key],
        "ENCRYPTION_KEYS": found.encryption_keys,
        "METRICS_TOKEN": [found.metrics_token],
        "WEBHOOK_SECRET": [base64.b64decode(found.webhook_secret.removeprefix("whsec_")).hex()],
        "REDIS_URL (the password)": _given(found.redis.password),
        "REDIS_SENTINEL_PASSWORD": _given(found.redis.sentinel_password),
        "DATABASE_URL (the password)": _given(str(found.database.get("PASSWORD") or "")),
    }
    for name, values in secrets.items():
        if any(map(is_guessable, values)):
            yield _warning(
                1,
                f"{name} can be guessed: it is short, repeats itself or is a placeholder.",
                'Make one: python3 -c "import secrets; print(secrets.token_urlsafe(48))"',
            )


def _given(secret: str) -> list[str]:
    return [secret] if secret else []


def _redis(options: RedisOptions) -> Iterator[CheckMessage]:
    if options.is_local:
        return
    if not options.password:
        yield _warning(
            2,
            f"Redis ({options.place}) asks for no password: whoever reaches it can empty the queues.",
            "Give Redis a user for the service (docs/operations.md, Redis) and name it in REDIS_URL.",
        )
    if not options.is_encrypted:
        yield _warning(3, f"The way to Redis ({options.place}) is not encrypted.", "Use rediss:// in REDIS_URL.")


def _database(found: Environment) -> Iterator[CheckMessage]:
    if "postgresql" not in found.database["ENGINE"]:
        yield _warning(
            5,
            "SQLite serves one machine, and one writer at a time.",
            "Give DATABASE_URL a PostgreSQL server where workers run elsewhere or load is heavy.",
        )
        return
    host, mode = str(found.database.get("HOST") or ""), found.database.get("OPTIONS", {}).get("sslmode")
    if host not in _LOCAL and not host.startswith("/") and mode not in _TLS_MODES:
        yield _warning(
            4, "The way to PostgreSQL may be unencrypted.", "End DATABASE_URL with ?sslmode=verify-full or require."
        )
    for name, value in (("secret_key", found.secret_key), ("webhook_secret", found.webhook_secret)):
        file = found.data_dir / name
        if file.is_file() and file.read_text().strip() == value:
            yield _warning(
                12,
                f"{name.upper()} was made on this machine and lies in {file}.",
                f"Set {name.upper()} to the same on every machine that shares the database, or share the directory.",
            )


def _root(user: int) -> Iterator[CheckMessage]:
    if user == 0:
        yield _warning(
            10,
            "The service runs as root, and opens documents that strangers made.",
            "Run it as a user of its own, as docker/Dockerfile and docker/systemd do.",
        )


def _open_files(files: tuple[Path, ...]) -> Iterator[CheckMessage]:
    for file in files:
        if file.is_file() and stat.S_IMODE(file.stat().st_mode) & 0o077:
            yield _warning(11, f"Others on this machine may read {file}.", f"chmod 600 {file}")


def _warning(number: int, message: str, hint: str) -> CheckMessage:
    return Warning(message, hint=hint, id=f"ingestion.W{number:03}")
