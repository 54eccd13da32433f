"""What the pages name exists: files, sections, commands of manage.py and their options."""

import json
import re
import shlex
from argparse import _SubParsersAction
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

from documents.api.serializers import TaskStatus
from documents.exceptions import DocumentNotFound, StorageDenied, StorageUnavailable
from documents.extraction.errors import ERRORS
from tests.servers import PROJECT_DIR

PAGES = [PROJECT_DIR / "README.md", PROJECT_DIR / "CHANGELOG.md", *sorted((PROJECT_DIR / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""Of any language: a pattern for shells alone would take the end of another block for a beginning."""


def anchors(page: Path) -> set[str]:
    """The sections of a page, as GitHub names them in links."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(\s*([^)\s]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        name, _, section = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        assert not section or section in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_blocks_are_accepted(page: Path) -> None:
    """Each line of a block that begins with manage.py is parsed as that command would parse it."""
    known = get_commands()
    for block in BLOCK.findall(page.read_text()):
        for line in re.findall(r"^manage\.py (.*)$", block, re.MULTILINE):
            # "ID ..." stands for several, and what follows a pipe is another program's.
            name, *arguments = shlex.split(re.sub(r"\.\.\.|\|.*", "", line), comments=True)
            assert name in known, line
            command = load_command_class(known[name], name) if isinstance(known[name], str) else known[name]
            if name == "rundramatiq":
                continue  # its queues are those of the actors, which QUEUE is not
            parser = command.create_parser("manage.py", name)
            try:
                parser.parse_args(arguments)
            except (SystemExit, Exception) as problem:
                pytest.fail(f"{page.name}: {line}: {problem}")


def test_the_table_of_queue_commands_has_each_of_them() -> None:
    page = (PROJECT_DIR / "docs" / "operations.md").read_text()
    table = page[page.index("| command | |") : page.index("A selection is text")]
    parser = load_command_class("queueadmin", "queue").create_parser("manage.py", "queue")
    (commands,) = (action.choices for action in parser._actions if isinstance(action, _SubParsersAction))
    assert set(re.findall(r"`([a-z-]+)[ `]", table)) >= set(commands)
    (listed,) = re.findall(r"`manage\.py queue ([^` ]+)`", (PROJECT_DIR / "README.md").read_text())
    assert set(listed.split(r"\|")) == set(commands)


def test_what_pages_ask_of_redis_is_what_the_services_user_may() -> None:
    """REDIS_URL names that user, and where docker/compose.yml runs there is no other."""
    allowed = (PROJECT_DIR / "docker" / "ingestion.acl").read_text().split()
    asked = [line for page in PAGES for line in re.findall(r'redis-cli -u "\$REDIS_URL" (\S+)', page.read_text())]
    assert len(asked) >= 5
    assert {f"+{command.strip('`').lower()}" for command in asked} <= set(allowed)


def test_the_api_page_shows_a_whole_status_and_tells_every_code_that_a_task_may_end_with() -> None:
    page = (PROJECT_DIR / "docs" / "api.md").read_text()
    (shown,) = re.findall(r"^### Status\n\n```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert list(json.loads(shown)) == list(TaskStatus().fields)
    table = page[page.index("#### Why a task failed") : page.index("### Lists")]
    known = {*ERRORS, *(error.code for error in (DocumentNotFound, StorageDenied, StorageUnavailable))} - {"cancelled"}
    ledgers_own = {"worker_lost", "poison", "internal_error", "unrecordable"}
    assert set(re.findall(r"`([a-z_]+)`", table)) >= known | ledgers_own
