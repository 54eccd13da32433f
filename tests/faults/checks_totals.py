"""Whether what is counted equals what there is: the counters of the ledger, and the metrics of the web server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.faults.site import METRICS_TOKEN, Site
from tests.faults.world import World

_EDGES = {"completed": "complete", "failed": "fail", "retried": "retry_later", "released": "release",
          "rescued": "rescue"}  # fmt: skip
"""Counter -> the edge that it counts. Dead letters and cancellations have several: they are compared with the jobs."""
_STATES = ("dead_letter", "cancelled")


def wrong_totals(world: World) -> list[str]:
    """What differs from the events and the jobs."""
    names = (*_EDGES, *_STATES)
    columns = ", ".join(names)
    counted = (
        f"SELECT {', '.join(f'coalesce(sum({name}), 0)::bigint' for name in names)} FROM (SELECT {columns} FROM "
        f"queueadmin_jobtotal UNION ALL SELECT {columns} FROM queueadmin_jobminute WHERE minute >= "
        "coalesce((SELECT until FROM queueadmin_totalsmark), '-infinity')) AS all_of_them"
    )
    edges = [f"(SELECT count(*) FROM queueadmin_jobevent WHERE edge = '{edge}')" for edge in _EDGES.values()]
    states = [f"(SELECT count(*) FROM queueadmin_job WHERE state = '{state}')" for state in _STATES]
    with world.sql() as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        totals = connection.execute(counted).fetchone() or ()
        rows = connection.execute(f"SELECT {', '.join([*edges, *states])}").fetchone() or ()
    there = dict(zip(names, rows, strict=True))
    wrong = _differences("total", dict(zip(names, totals, strict=True)), there)
    return wrong or (_differences("metric", _metrics(world.site), there) if world.site else [])


def _differences(kind: str, counted: Mapping[str, int], there: Mapping[str, int]) -> list[str]:
    return [
        f"the {kind} of {name} is {counted.get(name, 0)}, and there are {count}"
        for name, count in there.items()
        if counted.get(name, 0) != count
    ]


def _metrics(site: Site) -> Mapping[str, int]:
    """The same counters, as the web server shows them."""
    answer = httpx.get(f"{site.web_url}/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"}, timeout=10)
    answer.raise_for_status()
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            word = sample.name.removeprefix("queueadmin_jobs_").removesuffix("_total")
            if word == "finished":
                found[sample.labels["state"]] += int(sample.value)
            elif word in _EDGES and sample.name.startswith("queueadmin_jobs_"):
                found[word] += int(sample.value)
    return found
