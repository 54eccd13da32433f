"""What `manage.py up` prints for people: the table of results and where to go from here."""

import json
import shlex

from django.conf import settings
from rich.table import Table
from rich.text import Text

from ingestion_site.embedded import samples
from ingestion_site.embedded.first_start import STAFF_NAME
from ingestion_site.embedded.stack import Stack


def results_table(results: list[samples.Result]) -> Table:
    """One row per sample: file, status (with the error if there is one), engine, characters, pages, time."""
    table = Table(title="Samples", title_justify="left")
    table.add_column("file")
    table.add_column("status", overflow="fold")
    table.add_column("engine")
    for name in ("characters", "pages", "ms"):
        table.add_column(name, justify="right")
    for result in results:
        status = Text(result.status, style="green" if result.completed else "red")
        if result.error:
            status.append(f" ({result.error})")
        numbers = (result.characters, result.pages, result.milliseconds)
        table.add_row(
            Text(result.file_name),
            status,
            Text(result.engine),
            *("" if number is None else f"{number:,}" for number in numbers),
        )
    return table


PLACEHOLDER = samples.Sample(
    file_name="document.pdf", key="KEY/OF/YOUR/document.pdf", content_type="application/pdf", size=0
)
"""What the curl command names when the store holds nothing that we know of."""


def tour(stack: Stack, key: str, password: str | None, example: samples.Sample | None) -> Text:
    """URLs, the password of a new staff user, and a curl command.

    It works when pasted; without an example it has a placeholder, and says that it must be replaced.
    """
    lines = [
        "",
        f"Admin      {stack.address}/admin/",
        f"API docs   {stack.address}/api/docs/",
        f"Metrics    {stack.address}/metrics, for who holds the token in {stack.data_dir / 'metrics_token'}",
        f"Data       {stack.data_dir}",
        f"Logs       {stack.data_dir / 'logs'}",
        f"Commands   {manage(stack)} queue stats",
        f"           {manage(stack)} api_key create NAME --scopes submit,read",
        "",
    ]
    if password:
        lines[-1:] = [
            f"Staff user {STAFF_NAME}, password {password}",
            f"           (shown this once; to change it: {manage(stack)} changepassword {STAFF_NAME})",
            "",
        ]
    submit = f"Submit a document; it lies in {stack.data_dir / 'documents'} (this API key lives as long as this run):"
    if example is None:
        submit = (
            f"Submit a document of the bucket {settings.S3_BUCKET}: replace {PLACEHOLDER.key}, its name and its type "
            "by those of your own (this API key lives as long as this run):"
        )
    lines += [
        submit, "", curl(stack, key, example or PLACEHOLDER), "",
        "Then, with the task_id of the answer, read its status; and its text once it is completed:",
        "", "TASK=...", curl_get(stack, key, "status"), curl_get(stack, key, "result"), "",
    ]  # fmt: skip
    return Text("\n".join(lines))


def manage(stack: Stack) -> str:
    """How to run manage.py against this service from the project's directory."""
    elsewhere = stack.data_dir != settings.BASE_DIR / "var"
    return ".venv/bin/python manage.py" + (f" --data-dir {shlex.quote(str(stack.data_dir))}" if elsewhere else "")


def curl_get(stack: Stack, key: str, what: str) -> str:
    """A curl command that reads the status or the result of the task in $TASK. Results end in no line break."""
    header = shlex.quote(f"Authorization: Bearer {key}")
    return f"curl -sS -w '\\n' {stack.address}/api/documents/task/$TASK/{what} -H {header}"


def curl(stack: Stack, key: str, sample: samples.Sample) -> str:
    """A curl command that submits `sample`; on several lines, for a POSIX shell."""
    body = samples.submission(sample)
    del body["file_size"]
    return " \\\n  ".join(
        [
            f"curl -sS -X POST {stack.address}/api/documents/process",
            f"-H {shlex.quote(f'Authorization: Bearer {key}')}",
            "-H 'Content-Type: application/json'",
            f"-d {shlex.quote(json.dumps(body))}",
        ]
    )
