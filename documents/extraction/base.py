"""The values that cross the borders of extraction. All frozen, none knows an engine, Django or a setting."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

MIB = 1024 * 1024

PAGE_BREAK = "\n\n"
"""What stands between two pages in `Extraction.text`."""

VISIBLE_WITHOUT_TEXT = "pages_without_text"
"""Metadata key: number of pages that show something (a picture, usually) but hold no text."""

UNREADABLE_TEXT = "pages_with_unreadable_text"
"""Metadata key: number of pages that draw text which the engine could not turn into characters."""

LOOKED = "ocr"
"""Metadata key: which engine recognised text in pictures, and on which pages; there even if it found none."""

PICTURES = frozenset({"png", "jpg", "tiff", "gif"})
"""Formats that are nothing but a picture."""

OCR_OFF = "ocr_off"
"""Warning of a document whose pictures nobody read, because that was asked for."""

INCOMPLETE = "text_may_be_incomplete"
"""Warning of a document whose engines all gave less text than it seems to hold, or of which only pieces are known."""

PAGES_TO_READ = "pages_to_read"
"""Metadata key, gone before the result is stored: numbers of the pages on which OCR should look for text."""

JsonValue = str | int | float | bool | None | Sequence["JsonValue"] | Mapping[str, "JsonValue"]
Progress = Callable[[str, int | None, int | None], None]
"""Called with (stage, done, total): "extract", 12, 619."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Identity:
    """What a file is, judged by its bytes.

    `extension` (without dot) names the format and is the key of the registry; `content_type` is that format's media
    type; `declared` is what the client claimed; `warnings` say where claim and bytes differ.
    """

    content_type: str
    extension: str
    declared: str = ""
    named: str = ""
    warnings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Page:
    """One page, slide, sheet or chapter. `number` starts at 1; `label` is its name, if it has one."""

    number: int
    text: str
    label: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tried:
    """One engine that was run: how long it took (seconds) and why it was left ("" = its result was taken)."""

    engine: str
    seconds: float
    reason: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extraction:
    """The text of a document. `text` is the pages joined by `PAGE_BREAK`.

    `markdown` is the same content with headings, lists and tables, "" where the engine knows none of them.
    """

    text: str
    pages: tuple[Page, ...]
    engine: str
    content_type: str
    markdown: str = ""
    metadata: dict[str, JsonValue] = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    tried: tuple[Tried, ...] = ()


OcrMode = Literal["auto", "off", "force"]
"""`auto` reads pictures and the pages that show something but hold no text; `off` reads none; `force` reads every page
of a PDF, and prefers what it sees to what the file says."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ocr:
    """How text is recognised in pictures.

    `languages` are tesseract's names ("eng", "deu"); none means every language that is installed. Pages are drawn at
    `dpi`; a picture above `max_pixels` is shrunk first, which bounds memory at about 4 bytes a pixel and engine.
    """

    languages: tuple[str, ...] = ()
    dpi: int = 300
    max_pixels: int = 25_000_000
    mode: OcrMode = "auto"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What may differ from one document to the next. None, and no languages = as the sandbox's limits say."""

    timeout_seconds: float | None = None
    max_pages: int | None = None
    languages: tuple[str, ...] = ()
    ocr: OcrMode = "auto"

    def ocr_of(self, usual: Ocr) -> Ocr:
        """How text is recognised in this document, where `usual` is how it is done in others."""
        return dataclasses.replace(usual, languages=self.languages or usual.languages, mode=self.ocr)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What one extraction may use; each limit ends in an error of its own, never in a dead worker.

    `memory_bytes` is address space (RLIMIT_AS) of each process: 2 GiB leaves room for OCR engines, whose peak was
    measured at 1.2 GiB. `family_memory_bytes` and `processes` hold for a child and all it starts, where the kernel lets
    us (`cgroup`, user namespaces). `output_bytes` bounds the extracted text as UTF-8: all that the parent reads.
    """

    timeout_seconds: float = 300.0
    memory_bytes: int = 2048 * MIB
    output_bytes: int = 64 * MIB
    file_bytes: int = 512 * MIB
    open_files: int = 256
    family_memory_bytes: int = 3072 * MIB
    processes: int = 256
    max_pages: int = 10_000
    recycle_documents: int = 1000
    recycle_rss_bytes: int = 512 * MIB
    start_seconds: float = 30.0
    ocr: Ocr = Ocr()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What an engine is given. `work_dir` is private to this document and removed afterwards."""

    path: Path
    identity: Identity
    work_dir: Path
    max_pages: int
    output_bytes: int
    report: Progress
    ocr: Ocr = Ocr()


class Engine(Protocol):
    """One way to read some formats; one file per engine under `engines/`.

    `spawns` says that it runs system programs, so that the sandbox looks for processes they left behind.
    """

    name: str
    spawns: bool

    def accepts(self, identity: Identity) -> bool:
        """Tell whether this engine can read that format at all."""

    def extract(self, request: Request) -> Extraction:
        """Read the document. Raises an ExtractionError; any other exception counts as Damaged."""


class Finisher(Protocol):
    """A second look at what an engine found, such as OCR of the pages without text. Runs like an engine."""

    name: str
    spawns: bool

    def wanted(self, found: Extraction, request: Request) -> bool:
        """Tell whether there is anything to add."""

    def finish(self, request: Request, found: Extraction) -> Extraction:
        """Return a better Extraction. Raises an ExtractionError."""


def extraction(
    engine: str,
    request: Request,
    pages: Sequence[Page],
    *,
    metadata: Mapping[str, JsonValue] | None = None,
    warnings: Sequence[str] = (),
    markdown: str = "",
) -> Extraction:
    """Build the Extraction of `pages`, leaving out empty metadata."""
    return Extraction(
        text=PAGE_BREAK.join(page.text for page in pages),
        pages=tuple(pages),
        engine=engine,
        content_type=request.identity.content_type,
        markdown=markdown,
        metadata={key: value for key, value in (metadata or {}).items() if value not in (None, "", [])},
        warnings=tuple(warnings),
    )


def to_dict(value: Any) -> dict[str, Any]:
    """Return a flat frozen dataclass as a dict (`dataclasses.asdict` deep-copies, which costs on big texts)."""
    return dict(vars(value))
