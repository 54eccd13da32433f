"""The harness finds what is wrong: lost and doubled jobs, open attempts, strange executions, slow recoveries."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from rich.console import Console

from tests.faults import __main__ as command
from tests.faults import checks, checks_documents, effects, report, summary
from tests.faults.apps.plan import Plan
from tests.faults.catalogue import Fault
from tests.faults.effects import Effect
from tests.faults.findings import Findings, Span, measure, repeated
from tests.faults.inbox import Delivery, Inbox
from tests.faults.runner import Campaign
from tests.faults.world import World

PLAN = Plan(run="r", seed=1, first=0, last=10, seconds=1.0)
SPAN = Span(plan=PLAN, poisonous=(10, 12), struck_at=100.0, healed_at=110.0)
GOOD = [("submit", 0), ("claim", 1), ("retry_later", 1), ("promote", 1), ("claim", 2), ("complete", 2)]


def ran(kind: str, number: int, attempt: int = 1) -> Effect:
    return Effect(kind=kind, number=number, attempt=attempt, pid=1, at=0.0, about="-")


def test_a_job_with_two_outcomes_is_doubled() -> None:
    assert checks._doubled({"a": GOOD, "b": [*GOOD, ("fail", 2)]}) == 1


@pytest.mark.parametrize(
    "path",
    [
        GOOD[:-1],  # the last attempt never ended
        [*GOOD, ("complete", 2)],  # it ended twice
        [*GOOD[:2], ("claim", 1), *GOOD[2:]],  # one attempt was claimed twice
        [("submit", 0), ("complete", 1)],  # it ended and never began
    ],
)
def test_an_attempt_without_exactly_one_end_is_found(path: list[tuple[str, int]]) -> None:
    assert checks._open_attempts({"a": GOOD}) == []
    assert checks._open_attempts({"a": GOOD, "b": path}) == ["1 jobs have attempts without exactly one end"]


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ([], "1 hollow completions"),
        ([ran(effects.STARTED, 1, 7), ran(effects.ENDED, 1, 7)], "1 executions without a claim"),
        (
            [ran(effects.STARTED, 1, 2), ran(effects.STARTED, 1, 2), ran(effects.ENDED, 1, 2)],
            "1 attempts that ran twice",
        ),
        ([ran(effects.STARTED, 1, 2), ran(effects.ENDED, 1, 2)], ""),
    ],
)
def test_what_ran_is_held_against_what_is_recorded(log: list[Effect], words: str) -> None:
    row = {"state": "completed", "actor": "work", "error_code": ""}
    found = checks._unrecorded_effects(log, {"a": 1}, {"a": row}, {"a": GOOD}, SPAN)
    assert found == ([words] if words else [])


def test_a_job_that_ended_otherwise_than_it_should_is_found() -> None:
    right = {"state": "completed", "actor": "work", "error_code": ""}
    wrong = {"state": "failed", "actor": "work", "error_code": "c"}
    poison = {"state": "dead_letter", "actor": "poison", "error_code": "poison"}
    jobs = {"a": right, "b": wrong, "c": poison, "d": right | {"actor": "poison"}}
    found = checks._wrong_ends(jobs, {"a": 1, "b": 2, "c": 10, "d": 11}, SPAN)
    assert found == ["1 jobs ended as work failed (c)", "1 jobs ended as poison completed ()"]


def test_answers_that_no_client_should_get_are_found() -> None:
    refused = [Effect(kind=effects.REFUSED, number=1, attempt=0, pid=1, at=0.0, about="500")]
    assert checks._refusals(refused) == ["1 submissions were answered 500"]


def test_webhooks_are_counted_by_task() -> None:
    # Given a receiver that got one webhook as it should be, one with two ids, one badly signed, one that it refused
    def got(task: str, number: str = "i", *, accepted: bool = True, is_signed: bool = True) -> Delivery:
        return Delivery(task=task, id=number, body=b"{}", is_signed=is_signed, accepted=accepted, at=1.0)

    inbox = Inbox(random.Random(1))
    try:
        inbox.deliveries += [
            got("fine"), got("two"), got("two", "j"), got("forged", is_signed=False), got("refused", accepted=False)
        ]  # fmt: skip
        # When four webhooks and one that never came are owed
        found = checks_documents.webhooks(inbox, ["fine", "two", "forged", "refused", "missing"])
    finally:
        inbox.close()
    # Then each deviation has its word
    assert found == ["2 webhooks never accepted", "1 webhooks with two ids", "1 webhooks with a bad signature"]


def test_recovery_is_measured_from_the_end_of_the_fault_to_the_end_of_each_job_that_it_met() -> None:
    found = Findings(fault="f")
    accepted = {1: 90.0, 2: 105.0, 3: 111.0, 4: 105.0, 5: 99.0, 6: 99.0}
    finished = {1: 95.0, 2: 113.0, 3: 140.0, 4: 106.0, 5: 110.5}
    measure(found, SPAN, accepted, finished)
    # One was over before, one began after; one never ended, and has no recovery but is lost
    assert (found.met, sorted(found.recoveries)) == (4, [0.5, 3.0])
    assert found.broken == ["the fault met only 4 jobs"]


def test_executions_beyond_the_first_are_counted_but_not_those_of_poison() -> None:
    log = [ran(effects.STARTED, 1), ran(effects.STARTED, 1), ran(effects.STARTED, 10), ran(effects.STARTED, 10)]
    assert repeated(log, SPAN.is_poison) == 1


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda row: None, "30 jobs under 2 faults: 0 lost, 0 double outcomes, 0 broken invariants"),
        (lambda row: setattr(row, "lost", 3), "2 faults: 3 lost, 0 double outcomes, 0 broken invariants"),
        (lambda row: setattr(row, "doubled", 1), "0 lost, 1 double outcomes"),
        (lambda row: row.broken.append("x"), "0 double outcomes, 1 broken invariants"),
    ],
)
def test_the_command_fails_when_anything_was_lost_or_doubled_and_says_how_much(
    spoil: Callable[[Findings], None], words: str
) -> None:
    rows = [Findings(fault="a", jobs=10), Findings(fault="b", jobs=20, recoveries=[1.0, 2.5])]
    spoil(rows[0])
    assert report.exit_code(rows) == (0 if rows[0].is_clean else 1)
    assert words in report.last_line(rows)
    assert report.last_line(rows).endswith("slowest recovery p99 2.5 s")


def test_both_contenders_stand_side_by_side() -> None:
    console = Console(record=True, width=170)
    report.table(console, {"ledger": {"flushall": Findings(fault="flushall", jobs=9)},
                           "stock": {"flushall": Findings(fault="flushall", jobs=9, lost=7)}})  # fmt: skip
    lines = [line for line in console.export_text().splitlines() if "flushall" in line]
    assert ["ledger" in lines[0], "stock" in lines[1], " 7 " in lines[1]] == [True] * 3


def test_several_reports_become_one_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Given reports of two seeds, and of stock for one of them
    for name, kind, seed, row in (
        ("0", "ledger", 1, Findings(fault="flushall", jobs=99, lost=99)),  # repeated below
        ("a", "ledger", 1, Findings(fault="flushall", jobs=10, met=7, recoveries=[1.0])),
        ("b", "ledger", 2, Findings(fault="flushall", jobs=10, met=6, recoveries=[3.0])),
        ("c", "stock", 2, Findings(fault="flushall", jobs=10, lost=5)),
        ("d", "stock", 1, Findings(fault="flushall", jobs=10, lost=4, broken=["untidy"])),
    ):
        (tmp_path / name).write_text(json.dumps(report.as_json({kind: {"flushall": row}}, seed=seed, jobs=10)))
    # When they are summed up
    summary.main([str(tmp_path / name) for name in "0abcd"])
    # Then sums and worst recoveries are ours, and stock's are by seed
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == "| `flushall`: FLUSHALL | 0 | 20 | 13 | 0 | 0 | 0 | 3.0 / 3.0 | 4, 5 | 0, 0 | 0, 0 |"


def test_a_fault_of_the_mixture_that_breaks_by_itself_is_told() -> None:
    # Given a mixture, of which one fault has a bug, and another meets a server that is away
    def fails(world: World, dice: random.Random) -> int:
        raise AssertionError("nobody to strike")

    def is_refused(world: World, dice: random.Random) -> int:
        raise ConnectionRefusedError

    surroundings = cast(World, SimpleNamespace(notes=[]))
    campaign = Campaign(surroundings, seed=1, jobs=0, console=Console(stderr=True))
    # When both are to strike
    for act in (fails, is_refused):
        campaign.strike(Fault(name=act.__name__, does="", act=act), random.Random(1))
    # Then the first is among what the run deviated in, so that it does not pass
    assert surroundings.notes == ["fails failed with AssertionError: nobody to strike"]


def test_a_fault_that_nobody_knows_is_refused_with_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--only", "earthquake"]) == 2
    assert "Unknown faults: earthquake. Known: none, kill_worker" in capsys.readouterr().err
