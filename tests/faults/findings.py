"""What a run cost, and which jobs were its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults import effects
from tests.faults.apps.plan import Plan
from tests.faults.effects import Effect

LEAST_MET = 5
"""A fault that met fewer jobs has shown nothing."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """The jobs of one run, as `plan` has them; those from `poisonous[0]` to `poisonous[1]` - 1 die as dead letters.

    `log_from` is the place in the effect log where the run began, `struck_at` and `healed_at` are seconds since 1970.
    """

    plan: Plan
    poisonous: tuple[int, int] = (0, 0)
    log_from: int = 0
    struck_at: float = 0.0
    healed_at: float = 0.0

    def holds(self, number: int) -> bool:
        return self.plan.first <= number < self.plan.last or self.is_poison(number)

    def is_poison(self, number: int) -> bool:
        return self.poisonous[0] <= number < self.poisonous[1]

    def own(self, log: Iterable[Effect], *kinds: str) -> list[Effect]:
        """The effects of these kinds and of this run's jobs."""
        return [effect for effect in log if effect.kind in kinds and self.holds(effect.number)]


@dataclass(kw_only=True)
class Findings:
    """What a run cost. `recoveries` are seconds from the end of the fault to the end of each job that it met."""

    fault: str
    jobs: int = 0
    met: int = 0
    """Jobs that were under way while the fault was."""

    struck: int = 1
    """How often it struck."""

    lasted: float = 0.0
    """Seconds from the first strike until the world was whole again."""

    lost: int = 0
    duplicated: int = 0
    """Executions beyond the first of each job, deaths by poison excluded."""

    doubled: int = 0
    """Jobs that committed two outcomes for one run (stock: that ran to their end twice)."""

    recoveries: list[float] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Invariants that do not hold, in words."""

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.broken)

    def recovery(self, share: float) -> float:
        """A percentile of the recoveries, in seconds; 0 when all that it met had ended before it was over."""
        ordered = sorted(self.recoveries)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def as_dict(self) -> dict[str, Any]:
        return {
            "fault": self.fault, "jobs": self.jobs, "met": self.met, "struck": self.struck,
            "lasted": round(self.lasted, 1), "lost": self.lost,
            "duplicated_executions": self.duplicated, "double_outcomes": self.doubled,
            "recovery_p50": round(self.recovery(0.5), 2), "recovery_p99": round(self.recovery(0.99), 2),
            "broken": self.broken,
        }  # fmt: skip


def measure(found: Findings, span: Span, accepted: Mapping[int, float], finished: Mapping[int, float]) -> None:
    """Fill in whom the fault met and how long they took: numbers of jobs to seconds since 1970."""
    met = [
        number
        for number, at in accepted.items()
        if at <= span.healed_at and finished.get(number, span.healed_at) >= span.struck_at
    ]
    found.met = len(met)
    found.recoveries = [
        finished[number] - span.healed_at for number in met if finished.get(number, 0.0) > span.healed_at
    ]
    if found.struck < 1:
        found.broken.append("the fault struck nothing")
    if found.met < LEAST_MET:
        found.broken.append(f"the fault met only {found.met} jobs")


def repeated(ran: Sequence[Effect], excused: Callable[[int], bool]) -> int:
    """Executions beyond the first of each job."""
    starts = Counter(effect.number for effect in ran if effect.kind == effects.STARTED and not excused(effect.number))
    return sum(count - 1 for count in starts.values())
