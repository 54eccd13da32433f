"""The table, the JSON file, and the last line."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.faults.findings import Findings

Row = Findings
Results = Mapping[str, Mapping[str, Row]]
"""Contender -> fault -> what it cost."""


def table(console: Console, results: Results) -> None:
    """One line per fault and contender."""
    shown = Table(title="Faults")
    for name, justify in (
        ("fault", "left"), ("", "left"), ("lasted s", "right"), ("jobs", "right"), ("met", "right"),
        ("lost", "right"), ("run again", "right"),
        ("double outcomes", "right"), ("recovery p50 s", "right"), ("p99 s", "right"), ("", "left"),
    ):  # fmt: skip
        shown.add_column(name, justify=justify)  # type: ignore[arg-type]  # rich's literal
    for fault in dict.fromkeys(name for rows in results.values() for name in rows):
        for kind, rows in results.items():
            if row := rows.get(fault):
                shown.add_row(
                    row.fault, kind, f"{row.lasted:.0f}", str(row.jobs), str(row.met),
                    str(row.lost), str(row.duplicated), str(row.doubled),
                    f"{row.recovery(0.5):.1f}", f"{row.recovery(0.99):.1f}", "; ".join(row.broken),
                    style="" if row.is_clean or kind != "ledger" else "red",
                )  # fmt: skip
    console.print(shown)


def as_json(results: Results, *, seed: int, jobs: int) -> dict[str, Any]:
    return {
        "seed": seed,
        "jobs": jobs,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "results": {kind: [row.as_dict() for row in rows.values()] for kind, rows in results.items()},
    }


def exit_code(ours: Sequence[Row]) -> int:
    """1 when this service lost or doubled anything, or left something behind; what stock did does not count."""
    return 0 if all(row.is_clean for row in ours) else 1


def last_line(rows: Sequence[Row]) -> str:
    """How much was lost and doubled."""
    jobs, lost, doubled = (sum(getattr(row, name) for row in rows) for name in ("jobs", "lost", "doubled"))
    broken = sum(len(row.broken) for row in rows)
    slowest = max((row.recovery(0.99) for row in rows), default=0.0)
    return (
        f"{jobs} jobs under {len(rows)} faults: {lost} lost, {doubled} double outcomes, {broken} broken invariants; "
        f"slowest recovery p99 {slowest:.1f} s"
    )
