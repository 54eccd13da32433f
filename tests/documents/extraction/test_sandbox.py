"""The sandbox with real children and engines that misbehave."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from documents.extraction.base import MIB, Extraction, Identity, Limits, Options, Progress
from documents.extraction.errors import (
    Damaged,
    ExtractionCancelled,
    ExtractionTimeout,
    ExtractorCrashed,
    OutOfMemory,
    SandboxUnavailable,
    TooLarge,
    UnsupportedType,
)
from documents.extraction.sandbox import CancelRegister, Sandbox
from documents.extraction.workspace import office_sockets

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
LIMITS = Limits(timeout_seconds=20, memory_bytes=512 * MIB, output_bytes=2 * MIB, recycle_documents=1000)
linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part of this protection is Linux's")


def make_sandbox(tmp_path: Path, limits: Limits = LIMITS, size: int = 2) -> Sandbox:
    return Sandbox(limits, size=size, registry="rogue_engines", python_path=(HERE,), temp_root=tmp_path / "temp")


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    made = make_sandbox(tmp_path)
    yield made
    made.close()


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "document.bin"
    path.write_text("content")
    return path


def identity(behaviour: str) -> Identity:
    return Identity(content_type="application/x-test", extension=behaviour)


def run(
    sandbox: Sandbox,
    document: Path,
    behaviour: str,
    *,
    seconds: float | None = None,
    on_cancel_register: CancelRegister | None = None,
    on_progress: Progress | None = None,
) -> Extraction:
    return sandbox.extract(
        document,
        identity=identity(behaviour),
        options=Options(timeout_seconds=seconds),
        on_cancel_register=on_cancel_register,
        on_progress=on_progress,
    )


class Pids:
    """Collects the process ids that an engine reports as its progress."""

    def __init__(self) -> None:
        self.found: list[int] = []

    def __call__(self, stage: str, done: int | None, total: int | None) -> None:
        self.found += map(int, stage.split())


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Canceller:
    """What a job's cancel token offers: `on_cancel(callback) -> remove()`."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[], None]] = []
        self.registered = threading.Event()

    def register(self, callback: Callable[[], None]) -> Callable[[], None]:
        self.callbacks.append(callback)
        self.registered.set()
        return lambda: self.callbacks.remove(callback)


# -- the ordinary case


def test_a_warm_child_serves_many_documents(sandbox: Sandbox, document: Path) -> None:
    # When two documents follow each other
    first, second = run(sandbox, document, "pid"), run(sandbox, document, "pid")
    # Then the same process read both, and it is not this one
    assert first.text == second.text
    assert int(first.text) != os.getpid()


def test_progress_flows_out_of_the_child(sandbox: Sandbox, document: Path) -> None:
    seen: list[tuple[str, int | None, int | None]] = []
    sandbox.extract(document, identity=identity("progress"), on_progress=lambda *report: seen.append(report))
    assert seen[-1] == ("extract", 3, 3)
    assert len(seen) >= 2


def test_an_error_in_the_progress_callback_reaches_the_caller_and_spoils_nothing(
    sandbox: Sandbox, document: Path
) -> None:
    def refuse(stage: str, done: int | None, total: int | None) -> None:
        raise KeyError(stage)

    # When the caller's own callback raises
    with pytest.raises(KeyError):
        sandbox.extract(document, identity=identity("progress"), on_progress=refuse)
    # Then the next document does not read the replies meant for the last one
    assert run(sandbox, document, "good").text == "good text"


def test_a_library_that_prints_does_not_disturb_the_protocol(sandbox: Sandbox, document: Path) -> None:
    assert run(sandbox, document, "noise").text == "quiet"


def test_text_that_no_database_stores_is_cleaned(sandbox: Sandbox, document: Path) -> None:
    found = run(sandbox, document, "nul")
    assert "\0" not in found.text
    assert found.text.encode()
    assert found.text == found.pages[0].text


@pytest.mark.parametrize("length", [0, 10, 50_000, 70_000, 500_000])
def test_texts_of_any_length_and_character_come_through_unchanged(
    sandbox: Sandbox, document: Path, length: int
) -> None:
    """Short ones through the pipe, long ones through a file."""
    document.write_text(str(length))
    found = run(sandbox, document, "unusual")
    assert found.text == ('aé€😀"\\\n\t\x01' * (length // 9 + 1))[:length]
    assert found.pages[0].text == found.text


def test_many_threads_share_few_children(sandbox: Sandbox, document: Path) -> None:
    # Given eight threads and room for two children
    pids: list[str] = []
    threads = [threading.Thread(target=lambda: pids.append(run(sandbox, document, "pid").text)) for _ in range(8)]
    # When all extract at once
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    # Then all are served, by no more than two processes
    assert len(pids) == 8
    assert len(set(pids)) <= 2


def test_the_child_imports_no_django(sandbox: Sandbox, document: Path) -> None:
    modules = json.loads(run(sandbox, document, "modules").text)
    assert "documents.extraction.child" in modules or "documents.extraction.chain" in modules
    assert not [name for name in modules if name.partition(".")[0] in ("django", "boto3", "dramatiq", "redis")]


def test_the_childs_environment_holds_no_secret(
    tmp_path: Path, document: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a worker whose environment holds secrets
    monkeypatch.setenv("SECRET_KEY", "do-not-leak")
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:do-not-leak@host/db")
    sandbox = make_sandbox(tmp_path)
    # When an engine looks at its own
    environment = json.loads(run(sandbox, document, "environment").text)
    sandbox.close()
    # Then it finds what it needs to run, and nothing else
    assert set(environment) <= {
        "PATH", "LANG", "HOME", "TMPDIR", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "LC_CTYPE",
        "OMP_THREAD_LIMIT", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MALLOC_ARENA_MAX",
    }  # fmt: skip
    assert "do-not-leak" not in json.dumps(environment)


# -- limits


def test_a_document_that_takes_too_long_is_stopped_at_its_limit(sandbox: Sandbox, document: Path) -> None:
    started = time.monotonic()
    with pytest.raises(ExtractionTimeout) as caught:
        run(sandbox, document, "sleep", seconds=0.5)
    assert 0.5 <= time.monotonic() - started < 3
    assert "0.5 seconds" in str(caught.value)
    assert not caught.value.retryable
    # And the next document gets a new child
    assert run(sandbox, document, "good").text == "good text"


def test_a_document_that_takes_too_long_tells_every_engine_that_it_was_given(sandbox: Sandbox, document: Path) -> None:
    # Given an engine that cannot read the document, and one that hangs
    with pytest.raises(ExtractionTimeout) as caught:
        run(sandbox, document, "damaged-then-sleep", seconds=0.4)
    # Then the record holds both, with their times, and why they were left
    first, second = caught.value.tried
    assert (first.engine, first.reason) == ("damaged", "damaged")
    assert (second.engine, second.reason) == ("sleep", "extraction_timeout")
    assert 0.3 < second.seconds < 3


def test_an_engine_that_ends_its_process_is_told_beside_those_before_it(sandbox: Sandbox, document: Path) -> None:
    with pytest.raises(ExtractorCrashed) as caught:
        run(sandbox, document, "damaged-then-exit")
    assert sorted((one.engine, one.reason) for one in caught.value.tried) == [
        ("damaged", "damaged"), ("exit", "extractor_crashed"),
    ]  # fmt: skip


@linux
def test_a_document_that_eats_memory_ends_as_out_of_memory(sandbox: Sandbox, document: Path) -> None:
    with pytest.raises(OutOfMemory):
        run(sandbox, document, "memory")
    assert run(sandbox, document, "good").text == "good text"


@linux
def test_after_a_lack_of_memory_the_next_engine_is_tried(sandbox: Sandbox, document: Path) -> None:
    found = run(sandbox, document, "memory-then-good")
    assert [(one.engine, one.reason) for one in found.tried] == [("memory", "out_of_memory"), ("good", "")]


def test_a_kill_from_outside_counts_as_out_of_memory(sandbox: Sandbox, document: Path) -> None:
    # SIGKILL that the parent did not send is what the kernel's out-of-memory killer sends
    with pytest.raises(OutOfMemory) as caught:
        run(sandbox, document, "sigkill")
    assert caught.value.evidence["signal"] == "SIGKILL"


def test_more_text_than_allowed_is_too_large(sandbox: Sandbox, document: Path) -> None:
    with pytest.raises(TooLarge):
        run(sandbox, document, "flood")


# -- crashes


def test_a_crash_is_an_error_with_its_signal(sandbox: Sandbox, document: Path) -> None:
    with pytest.raises(ExtractorCrashed) as caught:
        run(sandbox, document, "segfault")
    assert caught.value.evidence["signal"] == "SIGSEGV"
    assert caught.value.evidence["engine"] == "segfault"
    assert [one.reason for one in caught.value.tried] == ["extractor_crashed"]


def test_an_exit_is_a_crash_too(sandbox: Sandbox, document: Path) -> None:
    with pytest.raises(ExtractorCrashed, match="exit code 3"):
        run(sandbox, document, "exit")


def test_after_a_crash_the_next_engine_reads_the_document(sandbox: Sandbox, document: Path) -> None:
    found = run(sandbox, document, "segfault-then-good")
    assert found.text == "good text"
    assert [(one.engine, one.reason) for one in found.tried] == [("segfault", "extractor_crashed"), ("good", "")]


def test_a_crash_is_not_hidden_behind_the_next_engines_missing_tool(sandbox: Sandbox, document: Path) -> None:
    with pytest.raises(ExtractorCrashed) as caught:
        run(sandbox, document, "segfault-then-tool")
    assert [one.reason for one in caught.value.tried] == ["extractor_crashed", "missing_dependency"]


def test_a_bug_in_an_engine_is_damaged_and_tells_no_document_text(sandbox: Sandbox, document: Path) -> None:
    with pytest.raises(Damaged) as caught:
        run(sandbox, document, "bug")
    assert caught.value.evidence["exception"] == "ZeroDivisionError"
    assert "secret" not in str(caught.value) + str(caught.value.evidence)


def test_a_result_that_is_a_link_is_not_followed(sandbox: Sandbox, document: Path) -> None:
    # Given a document whose engine replaced the result by a link to a file of the parent
    document.write_text("belongs to the parent")
    # Then the parent never hands that file on as text
    try:
        text = run(sandbox, document, "link").text
    except ExtractorCrashed:
        text = ""
    assert "belongs" not in text


@pytest.mark.parametrize(
    "line",
    [
        '{"kind": "done", "result": {"metadata": {"pages": NaN}}}',
        '{"kind": "done", "result": []}',
        '{"kind": "done", "result": {"text": 7}}',
        '{"kind": "error", "code": "damaged", "message": "", "evidence": [], "tried": []}',
        '{"kind": "progress", "stage": "extract", "done": "many", "total": null}',
        '{"kind": "surprise"}',
        "no JSON",
    ],
)
def test_a_child_that_was_taken_over_cannot_answer_nonsense(sandbox: Sandbox, document: Path, line: str) -> None:
    # Given a document whose engine answers in the child's place
    document.write_text(line)
    # Then that is a clear end, which names the engine, and the child serves nobody else
    with pytest.raises(ExtractorCrashed, match="nonsense") as caught:
        run(sandbox, document, "forge")
    assert [(one.engine, one.reason) for one in caught.value.tried] == [("forge", "extractor_crashed")]
    assert run(sandbox, document, "good").text == "good text"


def test_an_unknown_format_is_unsupported(sandbox: Sandbox, document: Path) -> None:
    with pytest.raises(UnsupportedType):
        run(sandbox, document, "no-such-format")


# -- cancellation


def test_cancel_kills_the_child_at_once(sandbox: Sandbox, document: Path) -> None:
    # Given a document that hangs
    canceller = Canceller()
    timer = threading.Timer(0.6, lambda: [callback() for callback in list(canceller.callbacks)])
    timer.start()
    started = time.monotonic()
    # When it is cancelled from another thread
    with pytest.raises(ExtractionCancelled):
        run(sandbox, document, "sleep", on_cancel_register=canceller.register)
    # Then it ends at once, takes its callback back, and the sandbox goes on
    assert time.monotonic() - started < 3
    assert canceller.callbacks == []
    assert run(sandbox, document, "good").text == "good text"


def test_a_task_cancelled_before_it_starts_runs_nothing(sandbox: Sandbox, document: Path) -> None:
    def already(callback: Callable[[], None]) -> Callable[[], None]:
        callback()
        return lambda: None

    with pytest.raises(ExtractionCancelled):
        run(sandbox, document, "sleep", on_cancel_register=already)


def test_cancel_after_the_end_does_not_touch_the_next_document(tmp_path: Path, document: Path) -> None:
    # Given one child, and a finished run whose cancel callback was kept
    sandbox = make_sandbox(tmp_path, size=1)
    canceller = Canceller()
    kept: list[Callable[[], None]] = []
    run(
        sandbox,
        document,
        "pid",
        on_cancel_register=lambda callback: (kept.append(callback), canceller.register(callback))[1],
    )
    # When it is called while the same child serves another document
    document.write_text("0.6")
    threading.Timer(0.2, kept[0]).start()
    # Then that document is read to its end
    assert run(sandbox, document, "nap").text == "rested"
    sandbox.close()


def test_a_task_that_waits_for_a_child_can_be_cancelled(tmp_path: Path, document: Path) -> None:
    # Given one child that is busy
    sandbox = make_sandbox(tmp_path, size=1)
    busy, ended = Canceller(), threading.Event()

    def hold() -> None:
        with pytest.raises(ExtractionCancelled):
            run(sandbox, document, "sleep", on_cancel_register=busy.register)
        ended.set()

    holder = threading.Thread(target=hold)
    holder.start()
    assert eventually(lambda: bool(sandbox._busy))
    # When the one that waits is cancelled
    waiting = Canceller()
    threading.Timer(0.2, lambda: [callback() for callback in list(waiting.callbacks)]).start()
    # Then it ends without having had a child
    with pytest.raises(ExtractionCancelled):
        run(sandbox, document, "good", on_cancel_register=waiting.register)
    for callback in list(busy.callbacks):
        callback()
    assert ended.wait(5)
    holder.join()
    sandbox.close()


# -- what a child may reach


@linux
def test_a_child_reads_its_document_and_none_of_the_workers_files(tmp_path: Path, document: Path) -> None:
    # Given the worker's secrets, readable by its user
    secret = tmp_path / ".env"
    secret.write_text("SECRET_KEY=do-not-leak")
    document.write_text(str(secret))
    sandbox = make_sandbox(tmp_path / "temp", size=1)
    try:
        if sandbox.protections()["files"] != "granted":
            pytest.skip("this kernel has no Landlock")
        # When an engine that was taken over looks for them, and writes where it may not
        # Then the kernel refuses
        assert run(sandbox, document, "read-elsewhere").text == "refused: PermissionError"
        assert run(sandbox, document, "write-elsewhere").text == "refused: PermissionError, refused: PermissionError"
        # Also the environment of the worker
        document.write_text(f"/proc/{os.getpid()}/environ")
        assert run(sandbox, document, "read-elsewhere").text == "refused: PermissionError"
    finally:
        sandbox.close()
    assert secret.read_text() == "SECRET_KEY=do-not-leak"


@linux
def test_the_socket_that_libreoffice_leaves_in_tmp_is_removed(tmp_path: Path) -> None:
    """The name was taken from a real run of LibreOffice, which leaves out leading zeros."""
    expected = f"/tmp/OSL_PIPE_{os.getuid()}_SingleOfficeIPC_1fefa2b45c11c3e38e83b0f670469a58"
    assert str(office_sockets(Path("/tmp/x4/w"))[0]) == expected


# -- what is left behind


@linux
def test_grandchildren_die_with_a_timed_out_child(sandbox: Sandbox, document: Path) -> None:
    # Given an engine that started a process in its group and one that left it
    pids = Pids()
    with pytest.raises(ExtractionTimeout):
        run(sandbox, document, "sleepers", seconds=1.5, on_progress=pids)
    # Then both are gone
    assert len(pids.found) == 2
    assert eventually(lambda: not any(map(is_running, pids.found)))


@linux
def test_processes_left_by_a_successful_engine_are_swept(sandbox: Sandbox, document: Path) -> None:
    # When an engine succeeds and leaves processes running
    before = run(sandbox, document, "pid").text
    pids = Pids()
    assert run(sandbox, document, "leave-sleepers", on_progress=pids).text == "started"
    # Then they are gone, and the child itself was spared
    assert len(pids.found) == 2
    assert eventually(lambda: not any(map(is_running, pids.found)))
    assert run(sandbox, document, "pid").text == before


def test_the_private_directory_is_wiped_after_each_document(sandbox: Sandbox, document: Path) -> None:
    # When an engine leaves a file in a directory without permissions
    work_dir = Path(run(sandbox, document, "litter").text)
    # Then nothing of it is there for the next document
    assert list(work_dir.iterdir()) == []
    assert list((work_dir.parent / "out").iterdir()) == []


def test_close_removes_every_directory_and_child(tmp_path: Path, document: Path) -> None:
    sandbox = make_sandbox(tmp_path)
    pid = int(run(sandbox, document, "pid").text)
    assert list((tmp_path / "temp").iterdir())
    sandbox.close()
    assert list((tmp_path / "temp").iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(SandboxUnavailable):
        run(sandbox, document, "good")


def test_close_cuts_off_a_document_at_work(tmp_path: Path, document: Path) -> None:
    sandbox = make_sandbox(tmp_path)
    run(sandbox, document, "good")  # its child is ready, so that it is a document that is cut off and not a start
    threading.Timer(0.5, sandbox.close).start()
    with pytest.raises(ExtractionCancelled):
        run(sandbox, document, "sleep")


@linux
def test_no_descriptor_is_leaked(sandbox: Sandbox, document: Path) -> None:
    def run_all() -> None:
        for behaviour in ("good", "segfault", "flood", "good"):
            try:
                run(sandbox, document, behaviour)
            except (ExtractorCrashed, TooLarge):
                continue

    def count() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    # Given a pool that is warm
    run_all()
    before, inside = count(), run(sandbox, document, "descriptors").text
    # When successes, errors and crashes follow
    for _ in range(3):
        run_all()
    # Then neither side holds more descriptors than before
    assert count() <= before
    assert run(sandbox, document, "descriptors").text == inside
    assert int(inside) <= 8


def test_a_child_is_recycled_after_its_number_of_documents(tmp_path: Path, document: Path) -> None:
    sandbox = make_sandbox(tmp_path, Limits(recycle_documents=2), size=1)
    pids = [run(sandbox, document, "pid").text for _ in range(5)]
    sandbox.close()
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]


def test_a_child_that_grew_too_big_is_recycled(tmp_path: Path, document: Path) -> None:
    sandbox = make_sandbox(tmp_path, Limits(recycle_rss_bytes=1), size=1)
    pids = {run(sandbox, document, "pid").text for _ in range(2)}
    sandbox.close()
    assert len(pids) == 2


def test_a_child_that_died_while_idle_is_replaced(tmp_path: Path, document: Path) -> None:
    sandbox = make_sandbox(tmp_path, size=1)
    pid = int(run(sandbox, document, "pid").text)
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: not is_running(pid))
    assert run(sandbox, document, "good").text == "good text"
    sandbox.close()


@linux
@pytest.mark.parametrize("behaviour", ["sleep", "tool"])
def test_children_and_their_tools_die_with_a_killed_worker(tmp_path: Path, document: Path, behaviour: str) -> None:
    # Given a worker process whose child is at work, itself or through a system tool
    script = (
        "import sys; from pathlib import Path; from documents.extraction.sandbox import Sandbox\n"
        "from documents.extraction.base import Identity\n"
        f"box = Sandbox(size=1, registry='rogue_engines', python_path=(Path({str(HERE)!r}),),"
        f" temp_root=Path({str(tmp_path / 'temp')!r}))\n"
        f"note = lambda stage, done, total: print(stage, box._busy.copy().pop().pid, flush=True)\n"
        f"box.extract(Path({str(document)!r}), on_progress=note,"
        f" identity=Identity(content_type='', extension={behaviour!r}))\n"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert worker.stdout is not None
    pids = [int(word) for word in worker.stdout.readline().split() if word.isdigit()]
    assert len(pids) == (1 if behaviour == "sleep" else 3)
    assert all(map(is_running, pids))
    # When it is killed outright
    worker.kill()
    worker.wait()
    worker.stdout.close()
    # Then nothing of it goes on
    assert eventually(lambda: not any(map(is_running, pids)))


@linux
def test_directories_of_a_killed_worker_are_removed_by_the_next(tmp_path: Path) -> None:
    # Given an old directory that nobody holds locked, and one whose owner lives
    temp = tmp_path / "temp"
    orphan = temp / "extraction-orphan"
    (orphan / "child-1" / "work").mkdir(parents=True)
    living = make_sandbox(tmp_path)
    kept = next(path for path in temp.iterdir() if path != orphan)
    hour_ago = time.time() - 3600
    os.utime(orphan, (hour_ago, hour_ago))
    os.utime(kept, (hour_ago, hour_ago))
    # When another sandbox starts
    other = make_sandbox(tmp_path)
    # Then only the orphan is gone
    assert not orphan.exists()
    assert kept.exists()
    other.close()
    living.close()


# -- the network


@linux
def test_the_report_of_protections_is_true_for_the_network(sandbox: Sandbox, tmp_path: Path) -> None:
    # Given a listener on the loopback interface
    with socket.create_server(("127.0.0.1", 0)) as listener:
        document = tmp_path / "port.txt"
        document.write_text(str(listener.getsockname()[1]))
        # When an engine connects to it
        outcome = run(sandbox, document, "connect").text
    # Then it gets through only where the kernel refused the isolation, and the report says which
    assert (outcome == "connected") == (not sandbox.protections()["network"].startswith("granted"))


def test_protections_are_reported_by_name(sandbox: Sandbox) -> None:
    granted = sandbox.protections()
    assert {"network", "parent_death", "memory", "core", "file_size", "open_files"} <= set(granted)
    assert granted["core"] == "granted"
    assert all(value.startswith(("granted", "refused")) for value in granted.values())
