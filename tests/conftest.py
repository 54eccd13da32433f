"""Fixtures for every test: the database that was asked for, Valkey, S3, a real worker.

The servers start when the first test wants them. The addresses are chosen before Django reads its settings,
so that the settings of the tests are the settings of the service with other values in the environment.
"""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import django
import pytest
import redis

from tests import servers

DATA_DIR = pytest.StashKey[Path]()
POSTGRES_PORT = pytest.StashKey[int]()
VALKEY_PORT = pytest.StashKey[int]()

SERVICE_VARIABLES = (
    "DATABASE_STATEMENT_SECONDS", "DATABASE_LOCK_SECONDS", "DATABASE_IDLE_IN_TRANSACTION_SECONDS", "DATABASE_POOLER",
    "SECRET_KEY", "ENCRYPTION_KEYS", "DATABASE_URL", "REDIS_URL", "QUEUE_NAME",
    "REDIS_SENTINELS", "REDIS_SENTINEL_MASTER", "REDIS_SENTINEL_USERNAME", "REDIS_SENTINEL_PASSWORD",
    "REDIS_CLUSTER_NODES", "REDIS_CA_FILE", "REDIS_CERT_FILE", "REDIS_KEY_FILE", "TASK_STATUS_EXPIRY_HOURS",
    "AUDIT_RETENTION_DAYS", "MAX_QUEUE_SIZE", "REQUESTS_PER_MINUTE", "DOCUMENTS_PER_MINUTE", "MAX_DOCUMENT_BYTES",
    "RESULT_REDIRECT_BYTES",
    "MAX_ATTEMPTS", "MIN_BACKOFF_SECONDS", "MAX_BACKOFF_SECONDS",
    "EXTRACTION_TIMEOUT_SECONDS", "OCR_LANGUAGES", "OCR_DPI",
    "WORKER_PROCESSES", "WORKER_THREADS", "WORKER_SILENT_SECONDS", "S3_ENDPOINT_URL", "S3_BUCKET",
    "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY", "S3_REGION", "METRICS_TOKEN", "WEBHOOK_SECRET", "WEBHOOK_ALLOW_PRIVATE",
    "WEBHOOK_TIMEOUT_SECONDS", "WEBHOOK_MIN_BACKOFF_SECONDS", "WEBHOOK_MAX_BACKOFF_SECONDS",
    "ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "BEHIND_HTTPS_PROXY", "PUBLIC_URL", "LOG_LEVEL", "DEBUG",
    "RELEASE", "LOG_FORMAT", "LOG_FILE", "LOG_FILE_BYTES", "LONG_POLL_WAITERS",
)  # fmt: skip
"""What the developer's own environment may hold, and a test must not see."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=["postgresql", "sqlite"],
        default="postgresql",
        help="database that the tests run on (default: postgresql)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Set the environment, before pytest-django (which comes last) loads the settings."""
    if _only_hands_out(config):
        return
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's background ignores Ctrl-C, and whatever the tests start would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    data_dir = Path(tempfile.mkdtemp(prefix="ingestion-tests-"))
    config.stash[DATA_DIR] = data_dir
    config.stash[POSTGRES_PORT] = servers.free_port()
    config.stash[VALKEY_PORT] = servers.free_port()
    for name in (*SERVICE_VARIABLES, "FORCE_COLOR", "NO_COLOR"):
        os.environ.pop(name, None)
    empty = data_dir / "empty.env"
    empty.touch()
    os.environ["ENV_FILE"] = str(empty)
    os.environ["DATA_DIR"] = str(data_dir)
    os.environ["REDIS_URL"] = f"redis://:test-password@127.0.0.1:{config.stash[VALKEY_PORT]}/0"
    if config.getoption("--database") == "postgresql":
        port = config.stash[POSTGRES_PORT]
        os.environ["DATABASE_URL"] = f"postgresql://postgres:test-password@127.0.0.1:{port}/ingestion"
    os.environ["DJANGO_SETTINGS_MODULE"] = "ingestion_site.settings"
    django.setup()
    _spare_work()


def _spare_work() -> None:
    """Set what makes users and clients of tests cheap to make; a process that a test starts has the service's values.

    Django's hasher takes a third of a second on purpose, for each user. WhiteNoise reads all static files when it
    starts, which it does in each test client; it can look for a file when it is asked for as well.
    """
    from django.conf import settings

    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.WHITENOISE_AUTOREFRESH = True


LONG_FILES = (
    "tests/seed/test_roles.py", "tests/ingestion_site/test_up.py", "tests/end_to_end/test_interruptions.py",
    "tests/browser/", "tests/end_to_end/", "tests/upgrade/", "tests/seed/", "tests/faults/", "tests/test_house.py",
    "tests/fuzz/", "tests/bench/", "tests/queueadmin/test_rundramatiq.py", "tests/queueadmin/test_queue_program.py",
    "tests/queueadmin/test_deaths.py", "tests/documents/extraction/test_hostile.py", "tests/ingestion_site/",
)  # fmt: skip
"""Files, or folders of them, whose few tests take longest, the longest first."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the longest files where several processes share the tests: at the end nobody waits for one of them.

    The Makefile's `--no-loadscope-reorder` keeps this order. xdist's own begins with the files of most tests, which
    are the quick ones.
    """
    if hasattr(config, "workerinput"):
        items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    long = (place for place, prefix in enumerate(LONG_FILES) if item.nodeid.startswith(prefix))
    return next(long, len(LONG_FILES))


def pytest_unconfigure(config: pytest.Config) -> None:
    if not _only_hands_out(config):
        shutil.rmtree(config.stash[DATA_DIR], ignore_errors=True)


def _only_hands_out(config: pytest.Config) -> bool:
    """Whether this process gives the tests to others (`-n 2`).

    Each of those has servers, ports and a data directory of its own. What this process put into the environment
    would reach them before they can choose, because pytest-django loads the settings that it finds named there.
    """
    return bool(getattr(config.option, "numprocesses", None)) and not hasattr(config, "workerinput")


@pytest.fixture(scope="session")
def database_kind(pytestconfig: pytest.Config) -> str:
    """`postgresql` or `sqlite`."""
    return str(pytestconfig.getoption("--database"))


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> Iterator[servers.PostgresServer]:
    """The session's PostgreSQL, whatever `--database` says."""
    with servers.PostgresServer(port=pytestconfig.stash[POSTGRES_PORT]) as server:
        yield server


@pytest.fixture(scope="session")
def django_db_modify_db_settings(database_kind: str, request: pytest.FixtureRequest) -> None:
    """Start the database server just before pytest-django makes the test database."""
    from tests.emptying import empty_quickly

    if database_kind == "postgresql":
        request.getfixturevalue("postgres_server")
    empty_quickly()


@pytest.fixture(scope="session")
def valkey_server(pytestconfig: pytest.Config) -> Iterator[servers.ValkeyServer]:
    """The session's Valkey, at the address in the settings. A test that stops Valkey starts its own."""
    from queueadmin.broker import get_ledger_broker

    with servers.ValkeyServer(port=pytestconfig.stash[VALKEY_PORT]) as server:
        # Tests that ran without one have made it leave the broker alone for some seconds.
        vars(get_ledger_broker()).pop("publisher", None)
        yield server


@pytest.fixture
def valkey(valkey_server: servers.ValkeyServer) -> Iterator[redis.Redis]:
    """A client of the session's Valkey, which is empty."""
    with valkey_server.client() as client:
        client.flushall()
        yield client


@pytest.fixture(scope="session")
def s3_server() -> Iterator[servers.S3Server]:
    """The session's S3; give every test a bucket of its own."""
    with servers.S3Server() as server:
        yield server


@pytest.fixture
def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    return servers.free_port()


@pytest.fixture
def data_dir(pytestconfig: pytest.Config) -> Path:
    """The data directory that the settings of this run name."""
    return pytestconfig.stash[DATA_DIR]


@pytest.fixture
def service_environment(transactional_db: None, valkey_server: servers.ValkeyServer) -> dict[str, str]:
    """The variables with which another process uses this test's database and Valkey."""
    from django.conf import settings
    from django.db import connection

    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "postgresql":
        url = os.environ["DATABASE_URL"].rpartition("/")[0] + "/" + name
    else:
        url = f"sqlite:///{name}"
    return {"DATABASE_URL": url, "REDIS_URL": valkey_server.url, "DATA_DIR": str(settings.DATA_DIR)}


WorkerFactory = Callable[..., servers.ManageCommand]


def _says_that_it_is_ready(processes: int) -> Callable[[servers.ManageCommand], bool]:
    return lambda worker: worker.output().count("Worker process is ready for action") >= processes


@pytest.fixture
def live_worker(service_environment: dict[str, str]) -> Iterator[WorkerFactory]:
    """`live_worker(threads=2, variables={...})` starts a real `manage.py rundramatiq` and returns it.

    The worker uses this test's database and Valkey, has booted when it is returned, and is drained and, if
    need be, killed at the end of the test. `.pid` is the Dramatiq master's.
    """
    started: list[servers.ManageCommand] = []

    def start(
        *,
        threads: int = 2,
        processes: int = 1,
        variables: dict[str, str] | None = None,
        options: Sequence[str] = (),
        ready: Callable[[servers.ManageCommand], bool] | None = None,
    ) -> servers.ManageCommand:
        worker = servers.ManageCommand(
            "rundramatiq", "--processes", str(processes), "--threads", str(threads), *options,
            variables={**service_environment, **(variables or {})},
            ready=ready or _says_that_it_is_ready(processes),
        )  # fmt: skip
        started.append(worker)
        worker.start()
        return worker

    yield start
    for worker in started:
        worker.close()


@pytest.fixture
def needs() -> Callable[..., None]:
    """`needs("tesseract-ocr", "tesseract")`: skip, naming the package, unless the program is installed.

    Fails instead when CI is set: `.ci/run` has installed it, so a skip would hide a hole. `in_ci=False` is for what
    it does not install, which is LibreOffice alone.
    """

    def check(package: str, binary: str, *, in_ci: bool = True) -> None:
        for missing in servers.missing_tools({binary: package}):
            if in_ci and os.environ.get("CI"):
                pytest.fail(str(missing))
            pytest.skip(str(missing))

    return check
