"""Everything the environment (or `.env`) may say, read once into one frozen value.

Each variable is checked here, so that a wrong one stops the start with its name and what is allowed, not a
traceback from the depths of a library hours later.
"""

import base64
import binascii
import os
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import environ

from ingestion_site import database, embedded_state, env_file, secret_files
from ingestion_site.database import Limits, Session
from ingestion_site.embedded.web import WEB_CONNECTIONS, spare_threads
from ingestion_site.variables import Reader, WrongSetting
from queueadmin.redis_client import RedisOptions, WrongOption

PROJECT_DIR = Path(__file__).resolve().parent.parent

LOG_FORMATS = ("console", "json")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
DATABASE_SCHEMES = ("sqlite", "postgres", "postgresql")
REDIS_SCHEMES = ("redis", "rediss", "unix")
PROCESS_VARIABLE = "QUEUEADMIN_PROCESS"
"""`web` or `worker` in the processes that serve: the first is set by `wsgi.py`, the second by `rundramatiq`."""
RESERVED_QUEUES = ("webhooks", "maintenance")
"""The queues of our own other actors: documents among them would delay every webhook, or the clean-up."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The service's configuration. Sizes are bytes, times are in the unit their name ends with."""

    data_dir: Path
    debug: bool
    log_level: str
    log_format: str
    log_colours: bool
    log_file: Path | None
    log_file_bytes: int
    secret_key: str
    encryption_keys: tuple[str, ...]
    allowed_hosts: tuple[str, ...]
    csrf_trusted_origins: tuple[str, ...]
    behind_https_proxy: bool
    public_url: str
    release: str
    database: dict[str, Any]
    session: Session
    redis: RedisOptions
    redis_is_embedded: bool
    queue_name: str
    task_status_expiry_hours: int
    audit_retention_days: int
    max_queue_size: int
    requests_per_minute: int
    documents_per_minute: int
    long_poll_waiters: int
    max_document_bytes: int
    result_redirect_bytes: int
    max_attempts: int
    min_backoff_seconds: int
    max_backoff_seconds: int
    extraction_timeout_seconds: int
    ocr_languages: tuple[str, ...]
    ocr_dpi: int
    worker_processes: int
    worker_threads: int
    host_processes: int
    shutdown_seconds: float
    worker_silent_seconds: int
    s3_endpoint_url: str
    s3_bucket: str
    s3_access_key_id: str
    s3_secret_access_key: str
    s3_region: str
    metrics_token: str
    webhook_secret: str
    webhook_allow_private: bool
    webhook_timeout_seconds: int
    webhook_min_backoff_seconds: int
    webhook_max_backoff_seconds: int
    warnings: tuple[str, ...] = ()
    """Sentences about what was given and is not used."""


def read(file: Path | None = None) -> Environment:
    """Read the environment, after filling what is unset from `file` (default: ENV_FILE, else `.env`).

    Raises WrongSetting, and WrongLine for a file that cannot be read as it is meant.
    """
    named = os.environ.get("ENV_FILE", "").strip()
    path = file or (Path(named) if named else PROJECT_DIR / ".env")
    if named and not path.is_file():
        raise WrongSetting("ENV_FILE", "the path of a readable file", named)
    lines = env_file.assignments(path) if path.is_file() else []
    environ.Env.read_env(env_file.as_file(lines))
    reader = Reader(environ.Env())
    data_dir = _data_dir(reader)
    redis = _redis(reader, embedded=embedded_state.redis_url(data_dir))
    min_backoff = reader.integer("MIN_BACKOFF_SECONDS", 5, minimum=1, maximum=3600)
    max_backoff = reader.integer("MAX_BACKOFF_SECONDS", 600, minimum=1, maximum=86_400)
    _require_order("", min_backoff, max_backoff)
    webhook_min_backoff = reader.integer("WEBHOOK_MIN_BACKOFF_SECONDS", 10, minimum=1, maximum=3600)
    webhook_max_backoff = reader.integer("WEBHOOK_MAX_BACKOFF_SECONDS", 6 * 3600, minimum=1, maximum=86_400)
    _require_order("WEBHOOK_", webhook_min_backoff, webhook_max_backoff)
    s3_endpoint_url = reader.url("S3_ENDPOINT_URL", schemes=("http", "https"))
    s3_bucket = reader.text("S3_BUCKET")
    if s3_endpoint_url and not s3_bucket:
        raise WrongSetting("S3_BUCKET", "the bucket's name when S3_ENDPOINT_URL is set")
    s3_access_key_id, s3_secret_access_key = _pair(reader, "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY")
    session = _session(reader)
    found = Environment(
        data_dir=data_dir,
        debug=reader.boolean("DEBUG", False),
        log_level=reader.choice("LOG_LEVEL", "INFO", LOG_LEVELS),
        log_format=reader.choice("LOG_FORMAT", "CONSOLE", tuple(map(str.upper, LOG_FORMATS))).lower(),
        log_colours=_colours(reader),
        log_file=_log_file(reader),
        log_file_bytes=reader.integer("LOG_FILE_BYTES", 20 * 2**20, minimum=4096, maximum=2**40),
        secret_key=_secret_key(reader, data_dir),
        encryption_keys=_encryption_keys(reader),
        allowed_hosts=reader.names("ALLOWED_HOSTS", ("localhost", "127.0.0.1", "[::1]")),
        csrf_trusted_origins=_origins(reader),
        behind_https_proxy=reader.boolean("BEHIND_HTTPS_PROXY", False),
        public_url=reader.url("PUBLIC_URL", schemes=("http", "https")),
        release=reader.text("RELEASE"),
        database=database.settings(
            reader.url("DATABASE_URL", schemes=DATABASE_SCHEMES),
            default=data_dir / "db.sqlite3",
            base=PROJECT_DIR,
            session=session,
        ),
        session=session,
        redis=redis,
        redis_is_embedded=not (reader.text("REDIS_URL") or redis.sentinels or redis.cluster_nodes),
        queue_name=_queue_name(reader),
        task_status_expiry_hours=reader.integer("TASK_STATUS_EXPIRY_HOURS", 24, minimum=1, maximum=87_600),
        audit_retention_days=reader.integer("AUDIT_RETENTION_DAYS", 365, minimum=1, maximum=36_500),
        requests_per_minute=reader.integer("REQUESTS_PER_MINUTE", 0, minimum=0, maximum=1_000_000),
        documents_per_minute=reader.integer("DOCUMENTS_PER_MINUTE", 0, minimum=0, maximum=1_000_000),
        max_queue_size=reader.integer("MAX_QUEUE_SIZE", 10_000, minimum=1, maximum=100_000_000),
        long_poll_waiters=reader.integer(
            "LONG_POLL_WAITERS", spare_threads(sys.argv, os.environ), minimum=0, maximum=10_000
        ),
        max_document_bytes=reader.integer("MAX_DOCUMENT_BYTES", 100 * 2**20, minimum=1, maximum=2**40),
        result_redirect_bytes=reader.integer("RESULT_REDIRECT_BYTES", 2**20, minimum=0, maximum=2**40),
        max_attempts=reader.integer("MAX_ATTEMPTS", 4, minimum=1, maximum=100),
        min_backoff_seconds=min_backoff,
        max_backoff_seconds=max_backoff,
        extraction_timeout_seconds=reader.integer("EXTRACTION_TIMEOUT_SECONDS", 300, minimum=1, maximum=86_400),
        ocr_languages=reader.names("OCR_LANGUAGES", ()),
        ocr_dpi=reader.integer("OCR_DPI", 300, minimum=72, maximum=600),
        worker_processes=reader.integer("WORKER_PROCESSES", _cores(), minimum=1, maximum=256),
        worker_threads=reader.integer("WORKER_THREADS", 8, minimum=1, maximum=256),
        host_processes=reader.integer("QUEUEADMIN_HOST_PROCESSES", 1, minimum=1, maximum=4096),
        shutdown_seconds=reader.seconds("QUEUEADMIN_SHUTDOWN_SECONDS", 25.0, minimum=0.001, maximum=86_400),
        # Three beats at least; and no longer than a judge remembers its own beats.
        worker_silent_seconds=reader.integer("WORKER_SILENT_SECONDS", 10, minimum=3, maximum=300),
        s3_endpoint_url=s3_endpoint_url,
        s3_bucket=s3_bucket,
        s3_access_key_id=s3_access_key_id,
        s3_secret_access_key=s3_secret_access_key,
        s3_region=_s3_region(reader, s3_endpoint_url),
        metrics_token=_metrics_token(reader, data_dir),
        webhook_secret=_webhook_secret(reader, data_dir),
        webhook_allow_private=reader.boolean("WEBHOOK_ALLOW_PRIVATE", False),
        webhook_timeout_seconds=reader.integer("WEBHOOK_TIMEOUT_SECONDS", 10, minimum=1, maximum=60),
        webhook_min_backoff_seconds=webhook_min_backoff,
        webhook_max_backoff_seconds=webhook_max_backoff,
    )
    return replace(found, warnings=tuple(env_file.unknown_names(path, lines, reader.names_read)))


def _require_order(prefix: str, minimum: int, maximum: int) -> None:
    if maximum < minimum:
        allowed = f"at least {prefix}MIN_BACKOFF_SECONDS ({minimum})"
        raise WrongSetting(f"{prefix}MAX_BACKOFF_SECONDS", allowed, str(maximum))


def _redis(reader: Reader, *, embedded: str) -> RedisOptions:
    """`embedded` is the URL of the Valkey that `up` started here, used when no server is named."""
    given = reader.url("REDIS_URL", schemes=REDIS_SCHEMES)
    sentinels, nodes = reader.names("REDIS_SENTINELS", ()), reader.names("REDIS_CLUSTER_NODES", ())
    own = "" if sentinels or nodes else embedded
    try:
        return RedisOptions(
            url=given or own or RedisOptions.url,
            sentinels=sentinels,
            sentinel_master=reader.text("REDIS_SENTINEL_MASTER", "mymaster" if sentinels else ""),
            sentinel_username=reader.text("REDIS_SENTINEL_USERNAME"),
            sentinel_password=reader.text("REDIS_SENTINEL_PASSWORD"),
            cluster_nodes=nodes,
            ca_file=reader.text("REDIS_CA_FILE"),
            cert_file=reader.text("REDIS_CERT_FILE"),
            key_file=reader.text("REDIS_KEY_FILE"),
        )
    except WrongOption as error:
        raise WrongSetting(f"REDIS_{error.name.upper()}", error.allowed) from None


def _session(reader: Reader) -> Session:
    """Statements are limited where somebody waits for them or a job depends on them, not where an operator migrates."""
    process = os.environ.get(PROCESS_VARIABLE, "")
    statement = reader.integer("DATABASE_STATEMENT_SECONDS", 30, minimum=0, maximum=86_400)
    return Session(
        limits=Limits(
            statement=statement if process else 0,
            lock=reader.integer("DATABASE_LOCK_SECONDS", 10, minimum=0, maximum=86_400),
            idle_in_transaction=reader.integer("DATABASE_IDLE_IN_TRANSACTION_SECONDS", 15, minimum=0, maximum=86_400),
        ),
        connections=WEB_CONNECTIONS if process == "web" else 0,
        pooler=reader.choice("DATABASE_POOLER", "NONE", tuple(name.upper() for name in database.POOLERS)).lower(),
        process=process or "command",
    )


def _data_dir(reader: Reader) -> Path:
    path = Path(reader.text("DATA_DIR") or PROJECT_DIR / "var").expanduser().absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)  # documents and secrets: their owner's alone
    except OSError:
        raise WrongSetting("DATA_DIR", "a directory that this user may create and write", str(path)) from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise WrongSetting("DATA_DIR", "a directory that this user may write", str(path))
    return path


def _log_file(reader: Reader) -> Path | None:
    """Asked now: a file that cannot be written would cost a traceback on standard error with every line."""
    given = reader.text("LOG_FILE")
    if not given:
        return None
    path = Path(given).expanduser().absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o640)
    except OSError as error:
        raise WrongSetting("LOG_FILE", f"a file that this user may write ({error.strerror})", given) from None
    return path


def _colours(reader: Reader) -> bool:
    """Whether log lines are coloured: on a terminal, or as FORCE_COLOR and NO_COLOR say.

    See https://no-color.org and https://force-color.org. `rundramatiq` sets FORCE_COLOR for the processes that it
    starts from a terminal, because they write into a pipe.
    """
    if reader.text("NO_COLOR"):
        return False
    return bool(reader.text("FORCE_COLOR")) or sys.stderr.isatty()


def _cores() -> int:
    """Worker processes by default: one per core, at most four: a guest on a shared machine."""
    return max(1, min(4, os.cpu_count() or 1))


def _secret_key(reader: Reader, data_dir: Path) -> str:
    given = reader.text("SECRET_KEY")
    if not given:
        return secret_files.read_or_create(data_dir / "secret_key", secret_files.new_secret_key)
    if len(given) < 32:
        raise WrongSetting("SECRET_KEY", "at least 32 random characters, or unset to have one made")
    return given


def _encryption_keys(reader: Reader) -> tuple[str, ...]:
    keys = reader.names("ENCRYPTION_KEYS", ())
    if any(len(key) < 32 for key in keys):
        raise WrongSetting(
            "ENCRYPTION_KEYS", "random texts of at least 32 characters each, by commas, the newest first"
        )
    return keys


def _metrics_token(reader: Reader, data_dir: Path) -> str:
    """As it goes into a header: visible ASCII characters without spaces."""
    given = reader.text("METRICS_TOKEN")
    if not given:
        return secret_files.read_or_create(data_dir / "metrics_token", secret_files.new_metrics_token)
    if not re.fullmatch(r"[!-~]{16,}", given):
        raise WrongSetting("METRICS_TOKEN", "at least 16 letters, digits or signs, or unset to have one made")
    return given


def _webhook_secret(reader: Reader, data_dir: Path) -> str:
    """24 to 64 bytes, as https://github.com/standard-webhooks/standard-webhooks specifies."""
    given = reader.text("WEBHOOK_SECRET")
    if not given:
        return secret_files.read_or_create(data_dir / "webhook_secret", secret_files.new_webhook_secret)
    allowed = "whsec_ followed by 24 to 64 random bytes in base64, or unset to have one made"
    try:
        key = base64.b64decode(given.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise WrongSetting("WEBHOOK_SECRET", allowed) from None
    if not given.startswith("whsec_") or not 24 <= len(key) <= 64:
        raise WrongSetting("WEBHOOK_SECRET", allowed)
    return given


def _queue_name(reader: Reader) -> str:
    """As Dramatiq takes it, and no longer than the ledger's column (Job.queue)."""
    name = reader.text("QUEUE_NAME", "document_ingestion")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9._-]{0,63}", name) or name in RESERVED_QUEUES:
        raise WrongSetting(
            "QUEUE_NAME",
            "1 to 64 letters, digits, dots, hyphens or underscores, a letter or underscore first, and not "
            + " or ".join(RESERVED_QUEUES),
            name,
        )
    return name


def _origins(reader: Reader) -> tuple[str, ...]:
    origins = reader.names("CSRF_TRUSTED_ORIGINS", ())
    for origin in origins:
        if not origin.startswith(("http://", "https://")):
            raise WrongSetting("CSRF_TRUSTED_ORIGINS", "origins such as https://example.org, by commas", origin)
    return origins


def _pair(reader: Reader, first: str, second: str) -> tuple[str, str]:
    values = reader.text(first), reader.text(second)
    if bool(values[0]) != bool(values[1]):
        raise WrongSetting(second if values[0] else first, f"set together with {first if values[0] else second}")
    return values


def _s3_region(reader: Reader, endpoint_url: str) -> str:
    """The region of the bucket, or "" to let boto3 find it (AWS_DEFAULT_REGION, a profile).

    "auto" is R2's word for any region, and most other stores with an endpoint of their own ignore it; at AWS it
    would become part of a host name that does not exist. AWS_REGION is what AWS sets in its own containers
    and functions, and boto3 does not read it.
    """
    return reader.text("S3_REGION") or ("auto" if endpoint_url else reader.text("AWS_REGION"))
