"""How a worker died is in the history of every job that it held; nobody is convicted by it, and nothing is made up."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from django.core.management import call_command
from django.db.models import F
from django.utils import timezone

from queueadmin import lifecycle, presence
from queueadmin.context import Progress
from queueadmin.dispatch import lost_workers
from queueadmin.memory import Memory, PeakMemory
from queueadmin.models import Job, JobEvent, WorkerProcess
from queueadmin.states import State
from tests.queueadmin.factories import claimed, submitted
from tests.servers import ManageCommand, wait_until

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

MIB = 2**20


def register(worker_id: int, *, pid: int, peak_memory: int | None = None, lived: float = 60.0) -> presence.Identity:
    """A worker of this host that beat for `lived` seconds, the last time two seconds ago."""
    me = presence.Identity(
        id=worker_id, name=f"w{worker_id}", host=presence.this_host(), pid=pid, pid_started="another process"
    )
    presence.register(me, queues=["q"], actors=["act"], threads=2)
    memory = None if peak_memory is None else Memory(now=0, peak=peak_memory)
    presence.beat(worker_id, busy=1, unwritten=0, memory=memory)
    beat_at = timezone.now() - timedelta(seconds=2)
    WorkerProcess.objects.filter(pk=worker_id).update(beat_at=beat_at, started_at=beat_at - timedelta(seconds=lived))
    return me


def test_the_event_of_a_rescued_job_says_how_its_worker_died_and_what_it_was_doing() -> None:
    # Given a worker with two jobs, one of which has reported a stage, that was killed
    me = register(5, pid=1, peak_memory=300 * MIB)
    first, second = (claimed(submitted(), worker_id=5) for _ in range(2))
    presence.write_progress([(first.id, first.attempt, Progress(stage="extracting", done=3, total=10))])
    assert presence.record_death(host=me.host, pid=1, exit_code=-signal.SIGKILL, peak_memory=812 * MIB)
    # When its jobs are rescued
    assert lifecycle.rescue([5], worker_id=1, max_crashes=3) == 2
    # Then both events say it, each with its own stage
    details = dict(JobEvent.objects.filter(edge="rescue").values_list("job_id", "detail"))
    silence = [details[job.id].pop("silent_seconds") for job in (first, second)]
    common = {
        "how": "killed by SIGKILL", "signal": "SIGKILL", "peak_bytes": 812 * MIB, "uptime_seconds": 60.0, "held": 2,
        "worker": "w5",
    }  # fmt: skip
    assert details == {first.id: common | {"stage": "extracting"}, second.id: common | {"stage": "not reported"}}
    assert all(2 <= seconds < 30 for seconds in silence)
    assert Job.objects.get(pk=first.id).error_message == (
        "Its worker died: killed by SIGKILL; 812 MiB at most; stage extracting."
    )


def test_where_nobody_saw_the_end_the_event_says_so() -> None:
    register(5, pid=1)
    claimed(submitted(), worker_id=5)
    claimed(submitted(), worker_id=6)  # of a worker without a row
    assert lifecycle.rescue([5, 6], worker_id=1, max_crashes=3) == 2
    seen, unknown = JobEvent.objects.filter(edge="rescue").order_by("id").values_list("detail", flat=True)
    assert seen["how"].startswith("nobody saw how it ended, it was last heard of ")
    assert unknown == {"how": "nobody saw how it ended", "held": 1, "worker": "6", "stage": "not reported"}
    assert not {"signal", "exit_code", "peak_bytes"} & seen.keys()


def test_a_stage_of_an_earlier_attempt_is_not_blamed() -> None:
    job = claimed(submitted(), worker_id=5)
    presence.write_progress([(job.id, job.attempt - 1, Progress(stage="downloading", done=None, total=None))])
    lifecycle.rescue([5], worker_id=1, max_crashes=3)
    assert JobEvent.objects.get(edge="rescue").detail["stage"] == "not reported"


def test_poison_is_a_dead_letter_that_says_how_and_its_company_is_not() -> None:
    # Given a job at its last chance, and one that only shares its process
    register(5, pid=1)
    poison, company = (claimed(submitted(), worker_id=5) for _ in range(2))
    Job.objects.filter(pk=poison.id).update(crashes=2)
    presence.record_death(host=presence.this_host(), pid=1, exit_code=-signal.SIGSEGV, peak_memory=MIB)
    # When the process dies
    lifecycle.rescue([5], worker_id=1, max_crashes=3)
    # Then one is a dead letter with evidence, the other runs again
    dead, other = (Job.objects.get(pk=job.id) for job in (poison, company))
    assert (dead.state, dead.error_code) == (State.DEAD_LETTER, "poison")
    assert "each time it ran, the last time: killed by SIGSEGV; 1 MiB" in dead.error_message
    assert (other.state, other.error_code, other.crashes) == (State.RETRYING, "worker_lost", 1)


def test_a_death_is_written_to_the_worker_that_ran_last_under_that_pid() -> None:
    # Given two workers that had the same pid, one after the other, and one of another host
    register(5, pid=7, lived=600)
    me = register(6, pid=7, lived=60, peak_memory=2 * MIB)
    # When it dies
    assert presence.record_death(host=me.host, pid=7, exit_code=70, peak_memory=MIB)
    # Then the later one has it, with the larger of both peaks
    rows = WorkerProcess.objects.order_by("id").values_list("id", "exit_code", "exit_signal", "peak_memory")
    assert list(rows) == [(5, None, None, None), (6, 70, None, 2 * MIB)]
    assert not presence.record_death(host="elsewhere", pid=7, exit_code=1, peak_memory=0)


def test_a_rescue_waits_a_moment_for_the_evidence_but_not_for_long() -> None:
    # Given a worker whose process is gone, and nobody has said how
    me = register(5, pid=2**22 + 1)
    claimed(submitted(), worker_id=5)
    judge = presence.identify(1)

    def lost(seconds: float) -> list[int]:
        return lost_workers(silent_seconds=10, judge_is_sound=True, me=judge, evidence_seconds=seconds)

    assert lost(60) == []
    # When somebody says it, or the time is over, Then it is lost
    assert lost(0.0) == [5]
    presence.record_death(host=me.host, pid=me.pid, exit_code=1, peak_memory=0)
    assert lost(60) == [5]


def test_peak_memory_counts_the_children_and_never_shrinks() -> None:
    # Given a child that takes 200 MiB for a moment
    peak = PeakMemory()
    before = peak.sample().peak
    grow = "import sys; block = bytearray(200 * 2**20); print('grown', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", grow], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with_child = peak.sample().peak
        assert child.stdin is not None
        child.stdin.close()
    # Then it was seen, and stays
    assert with_child >= psutil.Process().memory_info().rss + 150 * MIB
    after = peak.sample()
    assert after.peak == with_child >= before
    assert 0 < after.now <= after.peak


def test_the_master_of_a_killed_worker_tells_the_signal_to_the_timeline(
    live_worker: Callable[..., ManageCommand], capsys: pytest.CaptureFixture[str]
) -> None:
    # Given a real worker and a job in its name
    worker = live_worker(threads=1)
    row = WorkerProcess.objects.get(stopped_at=None)
    wait_until(lambda: WorkerProcess.objects.exclude(peak_memory=None), seconds=20, what="a beat")
    job_id = submitted(actor="somewhere else")
    Job.objects.filter(pk=job_id).update(state="processing", worker_id=row.pk, attempt=1)
    # When its process is killed
    os.kill(row.pid, signal.SIGKILL)
    assert worker.process is not None
    worker.process.wait(20)
    # Then its master has written down how, and the rescue of the job says so
    row.refresh_from_db()
    assert (row.exit_signal, row.exit_code) == (signal.SIGKILL, None)
    assert row.peak_memory is not None
    assert row.peak_memory > 20 * MIB
    lifecycle.rescue([row.pk], worker_id=1, max_crashes=3)
    call_command("queue", "status", str(job_id))
    assert "killed by SIGKILL" in " ".join(capsys.readouterr().out.split())


def stop_for_a_while(pid: int) -> None:
    """SIGSTOP, and wait until it stands still: a signal that comes before that would be taken first."""
    os.kill(pid, signal.SIGSTOP)
    stat = Path(f"/proc/{pid}/stat")
    wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", what="the process to stand still")


def has_signal(pid: int, number: signal.Signals, *sets: str) -> bool:
    """Whether a signal is in one of a process's sets: SigPnd and ShdPnd (it waits), SigBlk (it is blocked)."""
    status = Path(f"/proc/{pid}/status").read_text()
    masks = re.findall(rf"^(?:{'|'.join(sets)}):\s*(\w+)", status, re.MULTILINE)
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


def listens(master: ManageCommand) -> bool:
    """Whether a master has its workers, and heeds signals; it need not say anything.

    A row alone is not enough: the master waits for workers to come up before it heeds anything. One that has beaten
    since it began is up.
    """
    up = WorkerProcess.objects.filter(beat_at__gt=F("started_at") + timedelta(seconds=1)).exists()
    return up and not has_signal(master.pid, signal.SIGTERM, "SigBlk")


def test_the_master_of_several_workers_tells_the_end_of_each(live_worker: Callable[..., ManageCommand]) -> None:
    # Given a master of three processes
    master = live_worker(threads=1, processes=3)
    rows = list(WorkerProcess.objects.filter(stopped_at=None).order_by("id"))
    assert len(rows) == 3
    # When one is killed, and another one while the master still stops the rest
    stop_for_a_while(rows[1].pid)  # it cannot leave in order
    os.kill(rows[0].pid, signal.SIGKILL)
    wait_until(lambda: WorkerProcess.objects.filter(exit_signal=signal.SIGKILL).count() == 1, what="the first death")
    wait_until(lambda: WorkerProcess.objects.exclude(stopped_at=None).count() == 1, what="the third to leave")
    os.kill(rows[1].pid, signal.SIGKILL)
    assert master.process is not None
    master.process.wait(20)
    # Then both ends are written down, and the third has left in order
    ends = WorkerProcess.objects.order_by("id").values_list("exit_signal", "exit_code")
    assert list(ends) == [(signal.SIGKILL, None), (signal.SIGKILL, None), (None, None)]


def test_a_worker_that_dies_while_it_is_to_leave_is_written_down(live_worker: Callable[..., ManageCommand]) -> None:
    # Given a worker that does not react to its master's SIGTERM, and a master that is to log errors alone
    master = live_worker(threads=1, variables={"LOG_LEVEL": "ERROR"}, ready=listens)
    row = WorkerProcess.objects.get(stopped_at=None)
    stop_for_a_while(row.pid)
    os.kill(master.pid, signal.SIGTERM)
    wait_until(lambda: has_signal(row.pid, signal.SIGTERM, "SigPnd", "ShdPnd"), what="the master to pass SIGTERM on")
    # When somebody kills it
    os.kill(row.pid, signal.SIGKILL)
    assert master.process is not None
    master.process.wait(20)
    # Then that is known
    row.refresh_from_db()
    assert row.exit_signal == signal.SIGKILL
