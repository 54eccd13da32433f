"""The page, the code and nothing else: where states are written."""

import re
from pathlib import Path

from queueadmin import state_machine

ROOT = Path(state_machine.__file__).resolve().parent.parent
WRITES_STATE = re.compile(
    r"""(?xsm)
    \bSET\s(?:(?!\bWHERE\b|\bFROM\b).){0,300}?\bstate\s*=(?!=)   # SQL
    | \.update\([^)]*\bstate\s*=       # the ORM
    | ^[ ]*(?!self\.)[\w.\[\]]+\.state\s*=(?!=)    # an attribute
    | \bJob(\.objects\.create)?\([^)]*\bstate\s*=
    """
)


def test_the_page_is_the_table_of_edges() -> None:
    page = (ROOT / "docs" / "state_machine.md").read_text()
    assert page == state_machine.render(), "run: python -m queueadmin.state_machine > docs/state_machine.md"


def test_nothing_outside_lifecycle_writes_a_state() -> None:
    offenders = [
        f"{path.relative_to(ROOT)}: {match.group(0)[:60]!r}"
        for package in ("queueadmin", "documents", "ingestion_site")
        for path in (ROOT / package).rglob("*.py")
        if not {"lifecycle", "migrations"} & set(path.parts)
        for match in WRITES_STATE.finditer(path.read_text())
    ]
    assert offenders == []


def test_the_search_finds_what_it_looks_for() -> None:
    for text in ("UPDATE job SET x = 1, state = 'x'", "q.update(a=1, state='x')", "job.state = 'x'", "Job(state=1)"):
        assert WRITES_STATE.search(text), text
    for text in ("if job.state == State.PENDING:", "WHERE state = 'pending'", "filter(state=1)"):
        assert not WRITES_STATE.search(text), text
