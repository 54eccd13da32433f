"""The table in `docs/licences.md`, from the metadata of the installed packages: `python -m ingestion_site.licences`."""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path

_REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements" / "base.txt"

_BY_HAND = {
    "django-dramatiq": "Apache-2.0",
    "docx2txt": "MIT",
}
"""Packages whose metadata name no licence; these are what their licence files say."""

_COPYLEFT = re.compile(r"GPL|General Public|Mozilla|MPL", re.IGNORECASE)


def render() -> str:
    """A Markdown table of every package that the service is installed with: name, licence, who asks for it."""
    rows = [f"| {name} | {_mark(licence(name))} | {', '.join(via)} |" for name, via in sorted(required().items())]
    return "\n".join(["| package | licence | needed by |", "|---|---|---|", *rows, ""])


def required() -> dict[str, tuple[str, ...]]:
    """Package -> the packages that need it ("this service" for those that requirements/base.in names)."""
    pattern = r"^([a-z0-9._-]+)(?:\[[^\]]*\])?==.*\n(?:    --hash.*\n)*((?:    #.*\n)*)"
    found: dict[str, set[str]] = {}
    for name, remarks in re.findall(pattern, _REQUIREMENTS.read_text(), flags=re.MULTILINE):
        words = (line.replace("#", " ").replace("via", " ", 1).strip() for line in remarks.splitlines())
        found.setdefault(name, set()).update("this service" if ".in" in word else word for word in words if word)
    return {name: tuple(sorted(via)) for name, via in found.items()}


def licence(name: str) -> str:
    """What the package itself says, as an SPDX expression where it gives one."""
    if name in _BY_HAND:
        return _BY_HAND[name]
    try:
        about = metadata(name)
    except PackageNotFoundError:
        return "not installed here: for another Python or system"
    classified = ", ".join(_classified(about))
    return _field(about, "License-Expression") or classified or _field(about, "License") or "unknown"


def _classified(about: PackageMetadata) -> list[str]:
    given = [text.rsplit(" :: ", 1)[1] for text in about.get_all("Classifier") or [] if text.startswith("License ::")]
    return [text for text in given if text != "OSI Approved"]


def _field(about: PackageMetadata, name: str) -> str:
    """The first line: some packages put the whole text of their licence there."""
    return (about[name] or "").strip().split("\n")[0] if name in about else ""


def _mark(text: str) -> str:
    return f"**{text}**" if _COPYLEFT.search(text) else text


if __name__ == "__main__":
    sys.stdout.write(render())
