"""The `.env` file, read line by line: django-environ itself skips over lines that it cannot read."""

import difflib
import io
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_0-9]+)\s*=\s*(.*)")
_OTHERS = re.compile(r"(AWS_|DJANGO_|GRANIAN_|OMP_|OTEL_|PG[A-Z]|PYTHON|SSL_|TESSDATA_|TZ$|.*_PROXY$)", re.IGNORECASE)
"""Variables of Python and of libraries, which may stand in the file, too."""


class WrongLine(Exception):
    """The file cannot be read as it is meant. The message names file and line, and repeats nothing of the line."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One line of the file; `number` counts from 1, `value` may be in quotes."""

    number: int
    name: str
    value: str


def assignments(path: Path) -> list[Assignment]:
    """What the file sets; blanks around a line and its equals sign mean nothing.

    Raises WrongLine for the first line that is neither an assignment, nor empty, nor a comment.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors of Windows put a mark before the first line
    except (OSError, UnicodeDecodeError):
        raise WrongLine(f"{path.name} cannot be read as UTF-8 text.") from None
    found = []
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if not line or line.startswith("#"):
            continue
        match = _ASSIGNMENT.fullmatch(line)
        if match is None:
            raise WrongLine(
                f"{path.name} line {number}: write NAME=value, or begin the line with # to make it a comment."
            )
        found.append(Assignment(number=number, name=match[1], value=match[2]))
    return found


def as_file(lines: list[Assignment]) -> io.StringIO:
    """The assignments in the form that django-environ reads."""
    return io.StringIO("".join(f"{line.name}={line.value}\n" for line in lines))


def unknown_names(path: Path, lines: list[Assignment], known: Collection[str]) -> list[str]:
    """A sentence for each assignment that nothing reads, with the nearest name that something does read."""
    return [
        f"{path.name} line {line.number}: {line.name} is no setting of this service.{_nearest(line.name, known)}"
        for line in lines
        if line.name not in known and not _OTHERS.match(line.name)
    ]


def _nearest(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name.upper(), sorted(known), n=1)
    return f" Did you mean {near[0]}?" if near else " .env.example names them all."
