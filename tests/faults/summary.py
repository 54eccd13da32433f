"""`python -m tests.faults.summary ours-1.json ours-2.json … stock-1.json …`: the table of docs/reliability.md.

Several reports of `make faults OUT=…` in one table: sums and slowest recoveries of this service, stock seed by seed.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.faults.catalogue import BY_NAME, MIXED_DOES
from tests.faults.world import LEDGER, STOCK

Row = dict[str, Any]


_HEAD = (
    "| fault | lasted s | jobs | met | lost | run again | double | recovery p50 / p99 s "
    "| stock: lost | run again | double |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|\n"
)


def main(files: Sequence[str]) -> None:
    """Print the table."""
    reports = sorted((json.loads(Path(file).read_text()) for file in files), key=lambda report: int(report["seed"]))
    rows: dict[str, dict[str, list[Row]]] = {LEDGER: defaultdict(list), STOCK: defaultdict(list)}
    for report in reports:
        for kind, found in report["results"].items():
            for row in found:
                rows[kind][row["fault"]].append(row)
    lines = [_line(fault, ours, rows[STOCK].get(fault, [])) for fault, ours in rows[LEDGER].items()]
    sys.stdout.write(_HEAD + "".join(lines))


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
