"""LibreOffice, the last resort for old office formats: converts to PDF, which pypdfium2 reads page by page."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

from documents.extraction import tools
from documents.extraction.base import Extraction, Identity, Request
from documents.extraction.engines.pdfium import PdfiumEngine
from documents.extraction.errors import Damaged
from documents.extraction.workspace import OFFICE_PROFILES

_EXTENSIONS = frozenset({"doc", "wpd", "ppt", "xls", "odp", "rtf", "pptx", "docx", "odt"})


_SETTINGS = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry">
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="MacroSecurityLevel" oor:op="fuse">
<value>3</value></prop><prop oor:name="DisableMacrosExecution" oor:op="fuse"><value>true</value></prop>
<prop oor:name="BlockUntrustedRefererLinks" oor:op="fuse"><value>true</value></prop>
<prop oor:name="DisableActiveContent" oor:op="fuse"><value>true</value></prop></item>
<item oor:path="/org.openoffice.Office.Writer/Content/Update"><prop oor:name="Link" oor:op="fuse">
<value>2</value></prop></item>
<item oor:path="/org.openoffice.Office.Calc/Content/Update"><prop oor:name="Link" oor:op="fuse">
<value>2</value></prop></item>
</oor:items>
"""
"""No macros, and nothing is fetched: neither linked pictures nor linked sections."""


class LibreOfficeEngine:
    """Whatever soffice converts. A profile of its own each time: a shared one is locked by the first process."""

    name = "libreoffice"
    spawns = True

    def __init__(self, pdfium: PdfiumEngine) -> None:
        self._pdfium = pdfium

    def accepts(self, identity: Identity) -> bool:
        """Tell whether it is used for the format."""
        return identity.extension in _EXTENSIONS

    def extract(self, request: Request) -> Extraction:
        """Convert, then read. Raises MissingDependency, Damaged."""
        source = request.work_dir / f"source.{request.identity.extension}"
        source.symlink_to(request.path.absolute())
        new, warm = (request.work_dir / name for name in OFFICE_PROFILES[:2])
        (new / "user").mkdir(parents=True)
        (new / "user" / "registrymodifications.xcu").write_text(_SETTINGS)
        try:
            # With a new profile soffice starts a second time, finds the socket of its first start, which it may not
            # remove, and gives up. So the profile is made first, and used under a name that gives another socket.
            _run(request, new, "--terminate_after_init")
            new.rename(warm)
            _run(request, warm, "--convert-to", "pdf", "--outdir", str(request.work_dir), str(source))
        finally:
            source.unlink(missing_ok=True)
        converted = request.work_dir / "source.pdf"
        if not converted.is_file():
            raise Damaged(evidence={"tool": "soffice"})
        found = self._pdfium.extract(dataclasses.replace(request, path=converted))
        return dataclasses.replace(found, engine=self.name)


def _run(request: Request, profile: Path, *arguments: str) -> None:
    options = ("--headless", "--norestore", "--nologo", "--nodefault", "--nolockcheck")
    with contextlib.suppress(Damaged):  # Its exit code says nothing: whether there is a PDF does.
        tools.run("soffice", [f"-env:UserInstallation={profile.as_uri()}", *options, *arguments], request)
