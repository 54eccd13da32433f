"""The bundled samples, ingested as any client would do it: through the public HTTP API."""

import mimetypes
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

PREFIX = "samples"
POLL_SECONDS = 0.1
TERMINAL = frozenset({"completed", "failed", "dead_letter", "cancelled"})
_OFFICE = "application/vnd.openxmlformats-officedocument"
TYPES = {
    ".docx": f"{_OFFICE}.wordprocessingml.document",
    ".eml": "message/rfc822",
    ".md": "text/markdown",
    ".pptx": f"{_OFFICE}.presentationml.presentation",
    ".xlsx": f"{_OFFICE}.spreadsheetml.sheet",
}
"""Content types that Python knows only where the system has a table of its own."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One document in the store. `key` is its path there, which the API calls `r2_key`."""

    file_name: str
    key: str
    content_type: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Result:
    """How one sample ended. `milliseconds` runs from the submission to the end, as the service noted them."""

    file_name: str
    status: str
    error: str = ""
    engine: str = ""
    characters: int | None = None
    pages: int | None = None
    milliseconds: int | None = None

    @property
    def completed(self) -> bool:
        return self.status == "completed"


class SamplesFailed(Exception):
    """The API refused a sample, or did not finish in time."""


def copy_into_store(source: Path, documents: Path) -> list[Sample]:
    """Copy the sample files below the directory store; raises SamplesFailed when there are none."""
    files = sorted(path for path in source.iterdir() if _is_sample(path)) if source.is_dir() else []
    if not files:
        raise SamplesFailed(f"There are no sample documents in {source}; make them with `make samples`.")
    target = documents / PREFIX
    target.mkdir(parents=True, exist_ok=True)
    for path in files:
        shutil.copyfile(path, target / path.name)
    return [
        Sample(
            file_name=path.name,
            key=f"{PREFIX}/{path.name}",
            content_type=TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream",
            size=path.stat().st_size,
        )
        for path in files
    ]


def example(samples: list[Sample]) -> Sample | None:
    """The sample that people are shown: a PDF, as most of their documents are; None without samples."""
    return next((sample for sample in samples if sample.key.endswith(".pdf")), samples[0] if samples else None)


def _is_sample(path: Path) -> bool:
    """Everything in the directory but the script that makes it and the page about it."""
    return path.is_file() and path.suffix != ".py" and path.name != "README.md" and not path.name.startswith(".")


def ingest(client: httpx.Client, samples: list[Sample], *, timeout_seconds: float) -> Iterator[Result]:
    """Submit every sample, then yield each result as it comes.

    client: its base URL is the service's, its headers carry the API key.
    Raises SamplesFailed when the API refuses a sample, or when results are missing after `timeout_seconds`.
    """
    deadline = time.monotonic() + timeout_seconds
    waiting = {_submit(client, sample, deadline): sample for sample in samples}
    while waiting:
        for status_url, sample in list(waiting.items()):
            body = _get(client, status_url)
            if body["status"] in TERMINAL:
                del waiting[status_url]
                yield _result(sample, body)
        if waiting and time.monotonic() > deadline:
            names = ", ".join(sample.file_name for sample in waiting.values())
            raise SamplesFailed(f"No result after {timeout_seconds:g} s for: {names}.")
        time.sleep(POLL_SECONDS if waiting else 0)


def submission(sample: Sample) -> dict[str, Any]:
    """The body that submits a sample, as any client would send it."""
    return {
        "document_id": f"sample-{sample.file_name}",
        "user_id": "demo",
        "file_name": sample.file_name,
        "r2_key": sample.key,
        "content_type": sample.content_type,
        "file_size": sample.size,
    }


def _submit(client: httpx.Client, sample: Sample, deadline: float) -> str:
    """The status URL of the new task; waits while the queue is full."""
    while True:
        response = _call(client, "POST", "/api/documents/process", json=submission(sample))
        if response.status_code == 202:
            return str(response.json()["status_url"])
        if response.status_code not in (429, 503) or time.monotonic() > deadline:
            raise SamplesFailed(f"{sample.file_name} was refused: {_reason(response)}")
        time.sleep(min(float(response.headers.get("Retry-After", 1)), 5))


def _get(client: httpx.Client, url: str) -> dict[str, Any]:
    response = _call(client, "GET", url)
    if response.status_code != 200:
        raise SamplesFailed(f"The task's status cannot be read: {_reason(response)}")
    body: dict[str, Any] = response.json()
    return body


def _call(client: httpx.Client, method: str, url: str, **options: Any) -> httpx.Response:
    """One request, repeated for a few seconds while the web server is being started again."""
    for _ in range(100):
        try:
            return client.request(method, url, **options)
        except httpx.ConnectError:
            time.sleep(0.2)
        except httpx.HTTPError as error:
            raise SamplesFailed(f"The service does not answer ({type(error).__name__}).") from error
    raise SamplesFailed("The web server cannot be reached; see the logs in the data directory.")


def _reason(response: httpx.Response) -> str:
    try:
        body = response.json()
    except ValueError:
        return f"HTTP {response.status_code}"
    return f"HTTP {response.status_code}, {body.get('detail') or body.get('title') or body}"


def _result(sample: Sample, body: dict[str, Any]) -> Result:
    result, error = body.get("result") or {}, body.get("error") or {}
    return Result(
        file_name=sample.file_name,
        status=body["status"],
        error=f"{error.get('code')}: {error.get('message')}" if error else "",
        engine=str(result.get("engine") or ""),
        characters=result.get("characters"),
        pages=result.get("pages"),
        milliseconds=_milliseconds(body.get("created_at"), body.get("finished_at")),
    )


def _milliseconds(start: str | None, end: str | None) -> int | None:
    if not start or not end:
        return None
    return round((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds() * 1000)
