"""The supervisor restarts what dies, says so, and stops in order."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestion_site.embedded.supervisor import Backoff, Service, Supervisor
from tests.processes import alive, family
from tests.servers import wait_until

FAST = Backoff(first=0.05, most=0.2, healthy=60)


class Announcements(list[str]):
    def mention(self, *words: str) -> bool:
        return any(all(word in line for word in words) for line in self)


@pytest.fixture
def announced() -> Announcements:
    return Announcements()


@pytest.fixture
def supervisor(announced: Announcements) -> Iterator[Supervisor]:
    with Supervisor(announce=announced.append, backoff=FAST) as supervisor:
        yield supervisor


def service(directory: Path, name: str, code: str, stop_seconds: float = 5.0) -> Service:
    return Service(
        name=name,
        command=[sys.executable, "-u", "-c", code],
        environment=dict(os.environ),
        directory=directory,
        log=directory / f"{name}.log",
        stop_seconds=stop_seconds,
    )


SLEEP = "import time; print('ready'); time.sleep(60)"


def wait_for_start(service: Service, times: int = 1) -> None:
    wait_until(
        lambda: service.log.exists() and service.log.read_text().count("ready") >= times,
        what=f"{service.name} to start {times} times",
    )


def test_a_service_that_dies_is_started_again_and_both_are_said(
    supervisor: Supervisor, announced: Announcements, tmp_path: Path
) -> None:
    # Given
    web = service(tmp_path, "web", SLEEP)
    supervisor.start(web)
    wait_for_start(web)
    # When the command is killed
    _, command = family(supervisor.pid("web"))
    os.kill(command, signal.SIGKILL)
    # Then it runs again, and people have been told why
    wait_for_start(web, times=2)
    wait_until(lambda: announced.mention("web started again"), what="the announcement")
    assert announced.mention("web ended (signal 9)", "starting it again in 0.05 s", str(web.log))


def test_a_killed_leash_is_replaced_and_leaves_nothing_behind(supervisor: Supervisor, tmp_path: Path) -> None:
    # Given
    web = service(tmp_path, "web", SLEEP)
    supervisor.start(web)
    wait_for_start(web)
    before = family(supervisor.pid("web"))
    # When
    os.kill(before[0], signal.SIGKILL)
    # Then
    wait_for_start(web, times=2)
    wait_until(lambda: not alive(before), what="the old processes to end")


def test_the_wait_doubles_while_a_service_keeps_dying(
    supervisor: Supervisor, announced: Announcements, tmp_path: Path
) -> None:
    supervisor.start(service(tmp_path, "web", "import sys; sys.exit(3)"))
    wait_until(lambda: supervisor.deaths("web") >= 4, what="four deaths")
    waits = [line.split(" again in ")[1].split(" s.")[0] for line in announced if "exit code 3" in line]
    assert waits[:4] == ["0.05", "0.1", "0.2", "0.2"]


@pytest.mark.parametrize(("failures", "seconds"), [(1, 1.0), (2, 2.0), (5, 16.0), (6, 30.0), (5000, 30.0)])
def test_backoff_is_bounded(failures: int, seconds: float) -> None:
    assert Backoff().delay(failures) == seconds


def test_services_stop_in_reverse_order_of_their_start(announced: Announcements, tmp_path: Path) -> None:
    # Given a database that notes when it stops, and a web server that does the same
    order = tmp_path / "order"
    code = (
        "import signal, sys, time\n"
        "def stop(*_):\n"
        "    open({order!r}, 'a').write({name!r} + '\\n'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, stop); print('ready'); time.sleep(60)"
    )
    supervisor = Supervisor(announce=announced.append, backoff=FAST)
    for name in ("valkey", "web"):
        one = service(tmp_path, name, code.format(order=str(order), name=name))
        supervisor.start(one)
        wait_for_start(one)
    # When
    supervisor.stop()
    # Then, and an asked-for end is not announced as a death
    assert order.read_text().split() == ["web", "valkey"]
    assert announced == []


def test_stop_kills_what_does_not_stop_in_time(announced: Announcements, tmp_path: Path) -> None:
    # Given a service that ignores SIGTERM
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready'); time.sleep(60)"
    supervisor = Supervisor(announce=announced.append, backoff=FAST)
    one = service(tmp_path, "web", stubborn, stop_seconds=0.2)
    supervisor.start(one)
    wait_for_start(one)
    pids = family(supervisor.pid("web"))
    # When
    supervisor.stop()
    # Then
    wait_until(lambda: not alive(pids), seconds=5, what="the service to be gone")


def test_a_log_that_grows_too_long_is_moved_aside(announced: Announcements, tmp_path: Path) -> None:
    chatty = "import time\nwhile True: print('x' * 999, flush=True); time.sleep(0.01)"
    one = service(tmp_path, "web", chatty)
    with Supervisor(announce=announced.append, backoff=FAST, max_log_bytes=10_000) as supervisor:
        supervisor.start(one)
        wait_until((tmp_path / "web.log.1").exists, what="the log to be moved")
        wait_until(lambda: 0 < one.log.stat().st_size < 10_000, what="the service to write on, in a short log")


def test_a_command_that_does_not_exist_is_a_death_like_any_other(
    supervisor: Supervisor, announced: Announcements, tmp_path: Path
) -> None:
    missing = service(tmp_path, "web", "")
    missing = Service(**{**vars(missing), "command": [str(tmp_path / "missing")]})
    supervisor.start(missing)
    wait_until(lambda: announced.mention("web ended (exit code 1)"), what="the announcement")
    assert "FileNotFoundError" in missing.log.read_text()
