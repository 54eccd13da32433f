"""The collector that prometheus_client asks: reads the ledger, at most so often, and the broker; never raises.

A scrape must not add to what is wrong. The ledger is read by one thread at a time, no more often than every two
seconds, and so seldom that reading takes at most a twentieth of the time, however long it takes with a million jobs
in line. While the database is down its metrics are missing and `queueadmin_database_up` says why.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from django.db import DatabaseError, InterfaceError, connection
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from queueadmin import inspection
from queueadmin.exceptions import QueueAdminError
from queueadmin.inspection import BrokerHealth
from queueadmin.measures import BOUNDS, Reading
from queueadmin.metrics import families, samples
from queueadmin.metrics.families import Family
from queueadmin.metrics.ledger import Ledger, read
from queueadmin.metrics.samples import Sample
from queueadmin.ready import ReadySets

logger = logging.getLogger(__name__)

_FRESH_SECONDS = 2.0
_SHARE = 20.0
"""The ledger is read at most every this many times what reading it took the last time."""

Derive = Callable[[Ledger], Iterable[Sample]]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Metrics that an application adds: those that its meters fill, and those that it derives from the ledger."""

    families: tuple[Family, ...]
    derive: Derive = lambda ledger: ()


class LedgerReader:
    """Reads the ledger and remembers it for a while. Thread-safe."""

    def __init__(
        self,
        *,
        fresh_seconds: float = _FRESH_SECONDS,
        share: float = _SHARE,
        read: Callable[[], Ledger] = read,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Reads at most every `fresh_seconds`, and every `share` times what reading took."""
        self._fresh_seconds, self._share, self._read, self._clock = fresh_seconds, share, read, clock
        self._lock = threading.Lock()
        self._last: tuple[Ledger | None, float] | None = None
        self._next = 0.0

    def latest(self) -> tuple[Ledger | None, float]:
        """The ledger, or None while it cannot be read; and how many seconds ago that was."""
        is_first = self._last is None
        # One thread reads; who comes meanwhile gets what was read last, unless there is nothing yet.
        if (is_first or self._clock() >= self._next) and self._lock.acquire(blocking=is_first):
            try:
                self._refresh()
            finally:
                self._lock.release()
        ledger, at = self._last or (None, self._clock())
        return ledger, self._clock() - at

    def _refresh(self) -> None:
        began = self._clock()
        if self._last is None or began >= self._next:
            self._last = (self._try(), self._clock())
            self._next = self._clock() + max(self._fresh_seconds, self._share * (self._clock() - began))

    def _try(self) -> Ledger | None:
        try:
            return self._read()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("metrics cannot read the ledger", extra={"error": str(error)})
            if not connection.in_atomic_block:
                connection.close()
            return None


class QueueCollector(Collector):
    """Metrics of queueadmin and of the sources that the site adds."""

    def __init__(
        self,
        sets: ReadySets,
        *,
        declared: Collection[tuple[str, str]],
        sources: Sequence[Source] = (),
        reader: LedgerReader | None = None,
    ) -> None:
        """`declared` are the (queue, actor) pairs of the actors known here."""
        self._sets, self._declared, self._sources = sets, declared, sources
        self._reader = reader or LedgerReader()

    def describe(self) -> Iterable[Metric]:
        """Nothing: prometheus_client would otherwise collect once when it registers this."""
        return []

    def collect(self) -> Iterator[Metric]:
        by_name: dict[str, list[Sample]] = defaultdict(list)
        for sample in self._samples():
            by_name[sample.name].append(sample)
        for family in self.families():
            if by_name[family.name]:
                yield _metric(family, by_name[family.name])

    def families(self) -> tuple[Family, ...]:
        added = (family for source in self._sources for family in source.families)
        return (*families.LEDGER, *added, *families.SERVERS)

    def _samples(self) -> Iterator[Sample]:
        ledger, age = self._reader.latest()
        yield Sample(name="queueadmin_database_up", value=float(ledger is not None))
        queues = {queue for queue, _ in self._declared}
        if ledger is not None:
            yield Sample(name="queueadmin_database_latency_seconds", value=ledger.latency)
            yield Sample(name="queueadmin_snapshot_age_seconds", value=age)
            yield from samples.of_ledger(ledger, self._declared)
            for source in self._sources:
                yield from source.derive(ledger)
            queues |= {queue for queue, _, _ in ledger.jobs}
        yield from samples.of_broker(*self._broker(sorted(queues)))

    def _broker(self, queues: list[str]) -> tuple[BrokerHealth, tuple[int, int] | None, dict[str, int]]:
        health = inspection.health(self._sets)
        if not health.up:
            return health, None, {}
        try:
            return health, self._sets.memory(), inspection.ready_depths(self._sets, queues)
        except QueueAdminError:
            return health, None, {}


def _metric(family: Family, found: Sequence[Sample]) -> Metric:
    """The samples of one family as prometheus_client's. One label set has one sample: later ones are added up, as
    those of one actor in two queues are where the family does not tell queues apart."""
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        for sample in found:
            if isinstance(sample.value, Reading):
                buckets = _cumulative(sample.value)
                histogram.add_metric(sample.labels, buckets=buckets, sum_value=sample.value.total)
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.help, labels=family.labels)
    values: dict[tuple[str, ...], float] = defaultdict(float)
    for sample in found:
        if isinstance(sample.value, float):
            values[sample.labels] += sample.value
    for labels, value in values.items():
        metric.add_metric(labels, value)
    return metric


def _cumulative(reading: Reading) -> list[tuple[str, float]]:
    buckets, so_far = [], 0
    for bound, count in zip(BOUNDS, reading.buckets, strict=False):  # the last bucket is for what is beyond all bounds
        so_far += count
        buckets.append((str(bound), float(so_far)))
    return [*buckets, ("+Inf", float(reading.count))]
