"""LibreOffice, the last resort for old office formats: converts to PDF, which pypdfium2 reads page by page."""

from __future__ import annotations

import dataclasses

from documents.extraction import tools
from documents.extraction.base import Extraction, Identity, Request
from documents.extraction.engines.pdfium import PdfiumEngine
from documents.extraction.errors import Damaged

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
        profile = request.work_dir / "profile"
        (profile / "user").mkdir(parents=True)
        (profile / "user" / "registrymodifications.xcu").write_text(_SETTINGS)
        arguments = [
            f"-env:UserInstallation={profile.as_uri()}", "--headless", "--norestore", "--nologo", "--convert-to", "pdf",
            "--outdir", str(request.work_dir), str(source),
        ]  # fmt: skip
        try:
            tools.run("soffice", arguments, request)
        finally:
            source.unlink(missing_ok=True)
        converted = request.work_dir / "source.pdf"
        if not converted.is_file():
            raise Damaged(evidence={"tool": "soffice"})
        found = self._pdfium.extract(dataclasses.replace(request, path=converted))
        return dataclasses.replace(found, engine=self.name)
