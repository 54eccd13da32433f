"""The harness counts what happened, and refuses to call a half-measured run a rate."""

from pathlib import Path

import pytest

from tests import servers as test_servers
from tests.bench import drain, noop
from tests.bench.contenders import Ledger, WrongOutcome
from tests.bench.environment import Servers


class SteppedJobs:
    """A contender that works off `step` jobs between two looks."""

    def __init__(self, *, step: int) -> None:
        self._step = step
        self._done = 0

    def done(self) -> int:
        self._done += self._step
        return self._done


def test_the_rate_is_taken_between_3_and_95_percent() -> None:
    # Given a contender that does a hundredth of its jobs between two looks
    contender = SteppedJobs(step=10)
    # When its drain is timed
    drained = drain.measure(jobs=1000, done=contender.done, all_running=lambda: True, every=0.001)
    # Then the first 3 % and the last 5 % are left out
    assert drained.jobs == 950 - 30
    assert drained.rate == drained.jobs / drained.seconds


def test_a_drain_that_was_over_before_all_workers_had_started_is_no_rate() -> None:
    # Given
    contender = SteppedJobs(step=700)
    # When / Then
    with pytest.raises(drain.TooFewJobs, match="ask for more jobs"):
        drain.measure(jobs=1000, done=contender.done, all_running=lambda: True, every=0.001)


def test_jobs_that_are_never_done_end_the_measurement() -> None:
    with pytest.raises(TimeoutError, match="0 jobs were done, 30 were expected"):
        drain.measure(jobs=1000, done=lambda: 0, all_running=lambda: True, every=0.001, timeout=0.05)


@pytest.mark.timeout(60)
def test_a_tiny_round_of_ours_completes_every_job_with_its_three_events(
    service_environment: dict[str, str], postgres_server: test_servers.PostgresServer, tmp_path: Path
) -> None:
    # Given the shipped worker on the database and Valkey of this test
    if not service_environment["DATABASE_URL"].startswith("postgresql:"):
        pytest.skip("the benchmark measures PostgreSQL")
    servers = Servers(
        redis_url=service_environment["REDIS_URL"], database_url=postgres_server.url(), directory=tmp_path
    )
    contender = Ledger(servers, masters=1, database=service_environment["DATABASE_URL"].rpartition("/")[2])
    # When it works off a few jobs, which run_once checks against the ledger
    drained = noop.run_once(contender, jobs=1500)
    # Then the counters agree, and a wrong number of jobs would have been noticed
    assert contender.done(1500) == 1500
    assert 0 < drained.jobs <= 1500
    with pytest.raises(WrongOutcome, match="1500 of 1501"):
        contender.check(1501)
    contender.connection.close()
