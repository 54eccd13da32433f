"""`python -m tests.faults.summary ours-1.json ours-2.json … stock-1.json …`: the table of docs/reliability.md.

Several reports of `make faults OUT=…` in one table: sums and slowest recoveries of this service, stock seed by seed. Of
two runs of a fault with one seed the one that is named later counts. Invariants that did not hold come after the table.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.faults.catalogue import BY_NAME, MIXED_DOES
from tests.faults.runner import MIXED
from tests.faults.world import LEDGER, STOCK

Row = dict[str, Any]


_HEAD = (
    "| fault | lasted s | jobs | met | lost | run again | double | recovery p50 / p99 s "
    "| stock, by seed: lost | run again | double |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|\n"
)


def main(files: Sequence[str]) -> None:
    """Print the table."""
    rows: dict[str, dict[str, dict[int, Row]]] = {LEDGER: defaultdict(dict), STOCK: defaultdict(dict)}
    for report in (json.loads(Path(file).read_text()) for file in files):
        for kind, found in report["results"].items():
            for row in found:
                rows[kind][row["fault"]][int(report["seed"])] = row
    faults = [fault for fault in (*BY_NAME, MIXED) if fault in rows[LEDGER]]
    lines = [_line(fault, _by_seed(rows[LEDGER][fault]), _by_seed(rows[STOCK][fault])) for fault in faults]
    broken = [
        f"\n{fault}, seed {seed}: {'; '.join(row['broken'])}\n"
        for fault in faults
        for seed, row in sorted(rows[LEDGER][fault].items())
        if row["broken"]
    ]
    sys.stdout.write(_HEAD + "".join(lines + broken))


def _by_seed(found: Mapping[int, Row]) -> list[Row]:
    return [row for _, row in sorted(found.items())]


def _line(fault: str, ours: Sequence[Row], stock: Sequence[Row]) -> str:
    does = BY_NAME[fault].does if fault in BY_NAME else MIXED_DOES
    worst = f"{max(row['recovery_p50'] for row in ours):.1f} / {max(row['recovery_p99'] for row in ours):.1f}"
    cells = [
        f"`{fault}`: {does}", f"{max(row.get('lasted', 0.0) for row in ours):.0f}",
        _sum(ours, "jobs"), _sum(ours, "met"), _sum(ours, "lost"),
        _sum(ours, "duplicated_executions"), _sum(ours, "double_outcomes"), worst,
        *(_each(stock, name) for name in ("lost", "duplicated_executions", "double_outcomes")),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |\n"


def _sum(rows: Sequence[Row], name: str) -> str:
    return str(sum(row[name] for row in rows))


def _each(rows: Sequence[Row], name: str) -> str:
    return ", ".join(str(row[name]) for row in rows)


if __name__ == "__main__":
    main(sys.argv[1:])
