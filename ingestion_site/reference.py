"""`docs/settings.md`, from what `environment.py` reads and `.env.example` says: `python -m ingestion_site.reference`.

Read as source, not run: reading the settings would make directories and secrets.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

_PROJECT = Path(__file__).resolve().parent.parent
_HEAD = """# Settings

Rendered from `ingestion_site/environment.py` and `.env.example` by
`python -m ingestion_site.reference > docs/settings.md`; a test compares them.

Each is a variable of the environment or a line of `.env`; the environment wins, and `ENV_FILE` names another file. A
value that cannot be used stops the start with the variable's name and what is allowed. A name in the file that nobody
reads is a warning. `NO_COLOR` and `FORCE_COLOR` are heeded, too.
`QUEUEADMIN_SHUTDOWN_SECONDS` (25) is `--worker-shutdown-timeout` of workers as a variable.
`QUEUEADMIN_HOST_PROCESSES` is how many worker processes share a machine: `up` and `rundramatiq` set it to the number
that they start. Set it where several of its services run workers: their extraction children share its cores.
"""
_KINDS = {
    "text": "text",
    "integer": "whole number",
    "seconds": "seconds",
    "boolean": "true or false",
    "choice": "one of its words",
    "names": "list, by commas",
    "url": "URL",
}


def render() -> str:
    """The page as Markdown: a table for each section of `.env.example`."""
    kinds = _kinds((_PROJECT / "ingestion_site" / "environment.py").read_text())
    lines = [_HEAD]
    for title, rows in _sections((_PROJECT / ".env.example").read_text()):
        lines += [f"## {title}", "", "| variable | allowed | default | |", "|---|---|---|---|"]
        lines += [_row(kinds, names, text) for names, text in rows] + [""]
    return "\n".join(lines)


def _kinds(source: str) -> dict[str, str]:
    """Variable -> what it may be, from the calls of Reader's methods."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    found: dict[str, str] = {}
    for call in calls:
        if isinstance(call.func, ast.Attribute) and call.func.attr in _KINDS and call.args:
            name = call.args[0].value if isinstance(call.args[0], ast.Constant) else ""
            # What is asked for twice is asked as a text where only its presence counts.
            if found.get(str(name), "text") == "text":
                found[str(name)] = _KINDS[call.func.attr] + _bounds(call)
    return found


def _bounds(call: ast.Call) -> str:
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if "minimum" not in given:
        return ""
    return f", {given['minimum']} to {given['maximum']}".replace(" ** ", "^").replace("_", "")


def _sections(example: str) -> Iterator[tuple[str, list[tuple[dict[str, str], str]]]]:
    """(title, rows); a row is the variables that one remark is about, with their defaults, and the remark."""
    for section in re.split(r"^# --- ", example, flags=re.MULTILINE)[1:]:
        title, body = section.split(" ---\n", 1)
        blocks = re.findall(r"((?:^# .*\n)+)((?:^#[A-Z0-9_]+=.*\n?)+)", body, flags=re.MULTILINE)
        yield (
            title,
            [
                (
                    dict(re.findall(r"^#([A-Z0-9_]+)=(.*)$", names, flags=re.MULTILINE)),
                    " ".join(remark.removeprefix("# ") for remark in remarks.splitlines()),
                )
                for remarks, names in blocks
            ],
        )


def _row(kinds: dict[str, str], names: dict[str, str], text: str) -> str:
    cells = (
        [f"`{name}`" for name in names],
        [kinds.get(name, _KINDS["text"]) for name in names],  # a pair is read by a helper: texts
        [f"`{default}`" if default else "unset" for default in names.values()],
    )
    return "| " + " | ".join("<br>".join(cell) for cell in cells) + f" | {text} |"


if __name__ == "__main__":
    sys.stdout.write(render())
