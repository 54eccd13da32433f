"""Where the walk takes place: three servers that are somebody else's, and hosts that run docker/systemd."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import boto3
import httpx

from tests.servers import PROJECT_DIR, PostgresServer, S3Server, Server, ValkeyServer, free_port

UNITS = PROJECT_DIR / "docker" / "systemd"
BUCKET = "documents"
DATABASE = "ingestion"


def unit_command(unit: str, changes: Mapping[str, str]) -> list[str]:
    """What a unit of docker/systemd starts, with the paths of this checkout; `changes` are of single words."""
    (line,) = (line for line in (UNITS / unit).read_text().splitlines() if line.startswith("ExecStart="))
    words = shlex.split(line.removeprefix("ExecStart="))
    return [sys.executable, *(changes.get(word, word) for word in words[1:])]


class Unit(Server):
    """A long-running unit of docker/systemd, started as systemd would, with its host's data directory."""

    start_seconds = 120.0

    def __init__(self, unit: str, name: str, environment: Mapping[str, str], changes: Mapping[str, str]) -> None:
        self.name = name
        super().__init__()
        data = self.directory / "data"
        self.words = unit_command(unit, changes)
        self.variables = {**environment, "DATA_DIR": str(data)}

    def command(self) -> Sequence[str]:
        return self.words

    def environment(self) -> Mapping[str, str]:
        return self.variables


class Worker(Unit):
    """A worker host: one process group under a name of its own."""

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        super().__init__("document-ingestion-worker@.service", name, environment, {"%H-%i": name})

    def answers(self) -> bool:
        return "Worker process is ready for action" in self.output()

    def start(self) -> None:
        self.log.unlink(missing_ok=True)  # it may be started again, and is to say anew that it is ready
        super().start()


class Web(Unit):
    """A web server."""

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self.port = free_port()
        super().__init__("document-ingestion-web.service", name, environment, {"8000": str(self.port)})

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"http://{self.address}/health/ready", timeout=5).status_code == 200
        return False


class Stage(contextlib.ExitStack):
    """PostgreSQL, Valkey and a bucket; everything that was started ends with it."""

    def __enter__(self) -> Stage:
        super().__enter__()
        self.postgres = self.enter_context(PostgresServer())
        self.program("createdb", "--maintenance-db", self.postgres.url(), DATABASE)
        password = "walk-" + os.urandom(16).hex()
        acl = (PROJECT_DIR / "docker" / "ingestion.acl").read_text().strip()
        self.valkey = self.enter_context(ValkeyServer(appendonly=True, users=[f"{acl} >{password}"]))
        self.s3 = self.enter_context(S3Server())
        self.client = boto3.client(
            "s3", endpoint_url=self.s3.url, region_name=self.s3.region,
            aws_access_key_id=self.s3.access_key_id, aws_secret_access_key=self.s3.secret_access_key,
        )  # fmt: skip
        self.client.create_bucket(Bucket=BUCKET)
        self.variables = {
            "SECRET_KEY": os.urandom(32).hex(),
            "METRICS_TOKEN": os.urandom(16).hex(),
            "WEBHOOK_SECRET": "whsec_" + "d2Fsay13YWxrLXdhbGstd2Fsay13YWxrLXdhbGs=",
            "DATABASE_URL": self.postgres.url(DATABASE),
            "REDIS_URL": f"redis://ingestion:{password}@127.0.0.1:{self.valkey.port}/0",
            "S3_ENDPOINT_URL": self.s3.url,
            "S3_BUCKET": BUCKET,
            "S3_ACCESS_KEY_ID": self.s3.access_key_id,
            "S3_SECRET_ACCESS_KEY": self.s3.secret_access_key,
            # The walk's receiver of webhooks is on this machine.
            "WEBHOOK_ALLOW_PRIVATE": "true",
        }
        self.file = Path(self.postgres.directory).with_name("document-ingestion.env")
        self.file.write_text("".join(f"{name}={value}\n" for name, value in self.variables.items()))
        self.file.chmod(0o600)
        self.callback(self.file.unlink)
        return self

    @property
    def environment(self) -> dict[str, str]:
        """What systemd gives a unit: its own few variables, and those of the file."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return {**kept, **self.variables, "ENV_FILE": str(self.file)}

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of manage.py to its end."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=PROJECT_DIR, env=self.environment, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip

    def program(self, name: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs to its end."""
        program = self.postgres.binaries / name
        subprocess.run([str(program), *arguments], check=True, capture_output=True, timeout=180)

    def back_up(self, file: Path) -> None:
        self.program("pg_dump", "--format=custom", "--file", str(file), self.postgres.url(DATABASE))

    def restore(self, file: Path) -> None:
        self.program("pg_restore", "--clean", "--if-exists", "--dbname", self.postgres.url(DATABASE), str(file))
