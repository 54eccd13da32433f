"""The `QUEUEADMIN` setting: defaults, types, and checks across fields. Unknown keys are refused."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

from django.conf import settings as django_settings

from queueadmin.exceptions import ConfigurationError
from queueadmin.redis_client import RedisOptions, WrongOption


@dataclass(frozen=True, kw_only=True)
class QueueSettings:
    """Every knob of the queue. Times are seconds."""

    redis_url: str = field(default="redis://127.0.0.1:6379/0", repr=False)
    redis_sentinels: tuple[str, ...] = ()
    redis_sentinel_master: str = ""
    redis_sentinel_username: str = ""
    redis_sentinel_password: str = field(default="", repr=False)
    redis_cluster_nodes: tuple[str, ...] = ()
    redis_ca_file: str = ""
    redis_cert_file: str = ""
    redis_key_file: str = ""
    """How Redis is reached; see redis_client.RedisOptions."""

    namespace: str = "queueadmin"
    """Prefix of every key in Redis; written in braces, so that a Cluster keeps the keys on one node."""

    queues: tuple[str, ...] = ()
    """Queues that this worker takes jobs from; empty means all queues of the actors it knows."""

    version: str = ""
    """Release of the application, shown for each worker."""

    worker_name: str = ""
    """Name shown for this worker, in which {pid} stands for its process id; empty means host and process id."""

    max_queue_size: int = 10_000
    """Pending jobs of one queue above which `ensure_room` refuses more."""

    max_attempts: int = 4
    min_backoff_seconds: float = 5.0
    max_backoff_seconds: float = 600.0
    max_crashes: int = 3
    """A job that took its worker process down this often becomes a dead letter."""

    high_priority_from: int = 3
    """Jobs of this priority and above go to the front."""

    publish_timeout_seconds: float = 0.5
    """How long a submission may wait for Redis; the sweep publishes what was missed."""

    poll_timeout_seconds: float = 2.0
    """How long the consumer blocks in Redis when it is idle."""

    promote_seconds: float = 0.25
    sweep_seconds: float = 15.0
    beat_seconds: float = 1.0
    silent_seconds: float = 10.0
    """A worker without a beat for this long is buried and its jobs are rescued."""

    unstarted_seconds: float = 1.0
    """A claimed job that has not started within this time is released."""

    shutdown_seconds: float = 25.0
    """Budget from SIGTERM to exit: running jobs are released when most of it is spent."""

    measures: bool = True
    """Whether workers measure durations for the metrics. Counts of jobs are the ledger's own and always there."""

    cleanup_command: str = ""
    """Management command that removes what has outlived its retention: only the application knows what belongs to a
    job. `manage.py queue cleanup` runs it with --hours, --dry-run, --include-dead-letters and --json."""

    max_unwritten: int = 256
    """Outcomes of one process that may wait for their commit: the most that a SIGKILL can re-run."""

    def __post_init__(self) -> None:
        for known in fields(self):
            self._check_type(known.name, getattr(self, known.name))
        try:
            _ = self.redis
        except WrongOption as error:
            self._require(f"REDIS_{error.name.upper()}", False, error.allowed)
        self._require("MAX_ATTEMPTS", self.max_attempts >= 1, "at least 1")
        self._require("MAX_CRASHES", self.max_crashes >= 1, "at least 1")
        self._require("MAX_QUEUE_SIZE", self.max_queue_size >= 1, "at least 1")
        self._require("MAX_UNWRITTEN", self.max_unwritten >= 1, "at least 1")
        self._require(
            "MAX_BACKOFF_SECONDS",
            self.max_backoff_seconds >= self.min_backoff_seconds >= 0,
            "at least MIN_BACKOFF_SECONDS, which is at least 0",
        )
        self._require(
            "SILENT_SECONDS",
            self.silent_seconds >= 3 * self.beat_seconds,
            "at least three times BEAT_SECONDS, or a late beat would bury a healthy worker",
        )
        self._require("NAMESPACE", self.namespace.isidentifier(), "a plain word of letters, digits and underscores")

    @property
    def redis(self) -> RedisOptions:
        """The settings that begin with REDIS_."""
        return RedisOptions(**{known.name: getattr(self, f"redis_{known.name}") for known in fields(RedisOptions)})

    @property
    def suspect_from(self) -> int:
        """Crashes from which a job runs alone: the next one would make it a dead letter.

        Not after its first crash: a dead worker takes along every job that it held, up to hundreds, and running
        all of these alone, one by one, took a minute.
        """
        return max(1, self.max_crashes - 1)

    @staticmethod
    def _require(name: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise ConfigurationError(f"QUEUEADMIN[{name!r}] must be {allowed}.")

    def _check_type(self, name: str, value: Any) -> None:
        default = getattr(type(self), name)
        accepted = (int, float) if isinstance(default, float) else (type(default),)
        if isinstance(value, bool) != isinstance(default, bool) or not isinstance(value, accepted):
            expected = " or ".join(kind.__name__ for kind in accepted)
            raise ConfigurationError(f"QUEUEADMIN[{name.upper()!r}] must be {expected}, not {type(value).__name__}.")


def parse(raw: dict[str, Any]) -> QueueSettings:
    """Turn the `QUEUEADMIN` dictionary (upper-case keys) into settings; raises ConfigurationError."""
    known = {one.name.upper(): one.name for one in fields(QueueSettings)}
    unknown = sorted(set(raw) - set(known))
    if unknown:
        raise ConfigurationError(
            f"QUEUEADMIN has unknown keys: {', '.join(unknown)}. Known keys: {', '.join(sorted(known))}."
        )
    values: dict[str, Any] = {
        known[key]: tuple(value) if isinstance(value, list) else value for key, value in raw.items()
    }
    return QueueSettings(**values)


@lru_cache(maxsize=1)
def queue_settings() -> QueueSettings:
    """The settings of this process, parsed once."""
    return parse(getattr(django_settings, "QUEUEADMIN", {}))
