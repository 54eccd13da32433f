"""System programs: which there are, and how they are run."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from documents.extraction.base import Request
from documents.extraction.errors import Damaged, MissingDependency, OcrUnavailable

PACKAGES: dict[str, str] = {
    "tesseract": "tesseract-ocr",
    "catdoc": "catdoc",
    "soffice": "libreoffice-writer",
    "pdftotext": "poppler-utils",
    "unrtf": "unrtf",
}
"""Program to the Debian package that brings it."""


def find(tool: str) -> str | None:
    """Return the program's path, if it is installed."""
    return shutil.which(tool)


def missing(tool: str) -> MissingDependency:
    """Return the error that names the package to install."""
    package = PACKAGES.get(tool, tool)
    return OcrUnavailable(package=package) if tool == "tesseract" else MissingDependency(package=package)


def run(tool: str, arguments: Sequence[str], request: Request, *, data: bytes | None = None) -> bytes:
    """Run a program in the document's directory and return what it printed. Raises MissingDependency or Damaged.

    No time limit of its own: the sandbox's wall clock ends the whole process group. The environment is the child's,
    which holds no secret.
    """
    path = find(tool)
    if path is None:
        raise missing(tool)
    done = subprocess.run(
        [path, *arguments],
        input=data,
        stdin=subprocess.DEVNULL if data is None else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=request.work_dir,
        check=False,
    )
    if done.returncode != 0 and not done.stdout.strip():
        raise Damaged(evidence={"tool": tool, "exit_code": done.returncode})
    return done.stdout
