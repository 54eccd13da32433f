"""Faults of PostgreSQL, and of the way to it."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import time

import psutil
import psycopg

from tests.faults.strikes import wires
from tests.faults.world import MAX_CONNECTIONS, World


def restart_postgres(world: World, dice: random.Random) -> None:
    world.postgres.stop()
    time.sleep(dice.uniform(0.2, 2.0))
    world.postgres.start()


def crash_postgres(world: World, dice: random.Random) -> None:
    """An immediate shutdown, which is a crash: it recovers from its log."""
    assert world.postgres.process is not None
    world.postgres.process.send_signal(signal.SIGQUIT)
    world.postgres.process.wait(15)
    time.sleep(dice.uniform(0.2, 1.0))
    world.postgres.start()


def long_outage(world: World, dice: random.Random) -> None:
    """The database is away for longer than a worker may be silent: nobody may be condemned for it."""
    world.postgres.stop()
    time.sleep(15.0)
    world.postgres.start()


def kill_connections(world: World, dice: random.Random) -> None:
    for _ in range(5):
        with world.sql() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        time.sleep(dice.uniform(0.2, 1.0))


def full_pool(world: World, dice: random.Random) -> None:
    """Every connection is taken, and those of the workers are killed, so that they need new ones."""
    with contextlib.ExitStack() as stack, world.sql() as mine:
        deadline = time.monotonic() + 8.0
        while time.monotonic() < deadline:
            mine.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND application_name <> 'greedy' AND pid <> pg_backend_pid()"
            )
            for _ in range(MAX_CONNECTIONS):
                try:
                    taken = psycopg.connect(world.postgres.url(), application_name="greedy", connect_timeout=2)
                except psycopg.OperationalError:
                    break
                stack.callback(taken.close)
            time.sleep(0.5)


def lock_table(world: World, dice: random.Random) -> None:
    """Nobody can write for some seconds, as while an index is built without CONCURRENTLY."""
    table = "queueadmin_job" if world.is_ledger else "django_dramatiq_task"
    with world.sql() as connection, connection.transaction():
        connection.execute(f"LOCK TABLE {table} IN SHARE MODE")
        time.sleep(8.0)


def lock_rows(world: World, dice: random.Random) -> None:
    """Some live rows are locked for longer than a worker may be silent, by somebody's forgotten transaction."""
    query = (
        "SELECT 1 FROM queueadmin_job WHERE state IN ('pending', 'processing') LIMIT 20 FOR UPDATE SKIP LOCKED"
        if world.is_ledger
        else "SELECT 1 FROM django_dramatiq_task WHERE status <> 'done' LIMIT 20 FOR UPDATE SKIP LOCKED"
    )
    with world.sql() as connection, connection.transaction():
        connection.execute(query)
        time.sleep(12.0)


def read_only(world: World, dice: random.Random) -> None:
    """The database refuses writes for a while, as after a failover to a replica."""
    with world.sql() as connection:
        connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        connection.execute("SELECT pg_reload_conf()")
        time.sleep(7.0)
        connection.execute("SET default_transaction_read_only = off")
        connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
        connection.execute("SELECT pg_reload_conf()")


def disk_full(world: World, dice: random.Random) -> None:
    """PostgreSQL can write no more (its processes may not make files longer), crashes, and recovers."""
    limit = ["prlimit", "--fsize=1024:unlimited", "--pid"]
    for child in psutil.Process(world.postgres.pid).children():
        # As the user that PostgreSQL runs as: even root needs a capability for other users' processes.
        subprocess.run([*limit, str(child.pid)], **world.postgres.popen_options(), capture_output=True)  # type: ignore[call-overload]  # user= and group= only
    time.sleep(4.0)


def cut_postgres(world: World, dice: random.Random) -> None:
    for _ in range(10):
        for proxy in world.postgres_proxies:
            proxy.cut()
        time.sleep(dice.uniform(0.05, 0.4))


def hold_postgres(world: World, dice: random.Random) -> None:
    """One worker's connections to the database are half-open for long, then they die."""
    proxy = dice.choice(world.worker_databases)
    with wires.held([proxy]):
        time.sleep(20.0)
        proxy.cut()


def slow_postgres(world: World, dice: random.Random) -> None:
    with wires.delayed(world.postgres_proxies, 0.2):
        time.sleep(6.0)


def isolate_worker(world: World, dice: random.Random) -> None:
    """One worker reaches neither server for longer than it may be silent, and is condemned while it works on."""
    link = dice.choice(world.links.workers)
    for proxy in link.both():
        proxy.refusing = True
        proxy.cut()
    time.sleep(15.0)
    for proxy in link.both():
        proxy.refusing = False


def drop_submit(world: World, dice: random.Random, *, times: int = 10) -> int:
    """The client never hears that its job is committed, and sends it again."""
    marker = b"INSERT INTO queueadmin_job " if world.is_ledger else b"INSERT INTO"
    return wires.drop_one_by_one([world.links.client.postgres, world.links.web.postgres], marker, times)


def drop_claim(world: World, dice: random.Random, *, times: int = 20) -> int:
    """The worker never hears what it claimed."""
    return wires.drop(world.worker_databases, b"token = w.token" if world.is_ledger else b"django_dramatiq_task", times)


def drop_outcome(world: World, dice: random.Random, *, times: int = 20) -> int:
    """The worker never hears that outcomes are committed."""
    marker = b"failures = j.failures" if world.is_ledger else b"django_dramatiq_task"
    return wires.drop(world.worker_databases, marker, times)


def drop_commit(world: World, dice: random.Random, *, times: int = 15) -> int:
    """The reply to COMMIT is lost, whoever said it."""
    return wires.drop(world.postgres_proxies, b"COMMIT", times)
