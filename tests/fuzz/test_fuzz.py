"""The running service against its own OpenAPI document: real web server, worker, PostgreSQL and Valkey.

All phases with a fixed seed and few examples in the test, some 1,600 cases in 20 to 30 seconds; more of them with
`make fuzz [CASES=5000] [SEED=…]`.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from documents import api_keys
from documents.models import Scope
from tests.conftest import WorkerFactory
from tests.documents.api.web import WebServer
from tests.servers import PROJECT_DIR

HERE = Path(__file__).parent
CASES = int(os.environ.get("FUZZ_CASES", "0"))
"""About so many are wanted; 0 for the usual few of a test run."""
SEED = os.environ.get("FUZZ_SEED", "1")
FEW_EXAMPLES = 4
AT_LEAST = 1_200
FIXED = 1_500
"""Cases of the coverage phase, which takes every limit of every field in turn: as many as the schema gives."""
PER_EXAMPLE = 30
"""Cases that one more example of every operation means, as seen: each phase skips what it has asked before."""


def examples() -> int:
    """How many examples of every operation to make, for about as many cases as are wanted."""
    return max(FEW_EXAMPLES, round((CASES - FIXED) / PER_EXAMPLE)) if CASES else FEW_EXAMPLES


def ask(url: str, key: str) -> subprocess.CompletedProcess[str]:
    """Run schemathesis, in a process of its own: here its warnings would be errors."""
    return subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(HERE / "schemathesis.toml"),
            "run", f"{url}/api/schema/", "--header", f"Authorization: Bearer {key}", "--no-color",
            "--seed", SEED, "--max-examples", str(examples()),
            *([] if CASES else ["--no-shrink"]),
        ],
        cwd=PROJECT_DIR,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks", "PYTHONPATH": str(PROJECT_DIR)},
        stdout=None if CASES else subprocess.PIPE,
        stderr=None if CASES else subprocess.STDOUT,
        text=True,
    )  # fmt: skip


@pytest.mark.timeout(0 if CASES else 900)
@pytest.mark.django_db(transaction=True)
def test_every_answer_is_one_that_the_openapi_document_has(
    service_environment: dict[str, str], live_worker: WorkerFactory
) -> None:
    # Given the service, a document, and a key that may do everything
    documents = Path(settings.DATA_DIR) / "documents"
    documents.mkdir(exist_ok=True)
    (documents / "0").write_text("What many generated keys name.")
    key = api_keys.issue("fuzz", scopes=list(Scope)).key
    # Webhooks stay in their queue: generated URLs are strangers'.
    live_worker(options=["--queues", settings.QUEUE_NAME])
    with WebServer({**service_environment, "LONG_POLL_WAITERS": "0"}) as web:
        # When
        done = ask(web.url, key)
        # Then
        assert done.returncode == 0, done.stdout
        assert "internal_error" not in web.output()
        if not CASES:  # else everything has been printed
            assert int(re.search(r"(\d+) generated", done.stdout)[1]) > AT_LEAST, done.stdout  # type: ignore[index]  # a failure either way
