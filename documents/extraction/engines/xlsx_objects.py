"""What floats above the cells of a workbook in Open XML: text boxes, remarks, and charts with their labels."""

from __future__ import annotations

import posixpath
import zipfile
import zlib

from lxml import etree

_OFFICE = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_MAX_PART_BYTES = 16 * 1024 * 1024
_MAX_PARTS = 2_000


def objects(archive: zipfile.ZipFile) -> dict[int, list[str]]:
    """Return sheet number (from 1) -> the lines above its cells. Parts that are broken or too large are left out."""
    reader = _Reader(archive)
    if not reader.has_objects:
        return {}
    found: dict[int, list[str]] = {}
    book = reader.part("xl/workbook.xml")
    targets = reader.relations("xl/workbook.xml")
    for number, sheet in enumerate(book.iterfind(".//{*}sheets/{*}sheet") if book is not None else (), start=1):
        lines: list[str] = []
        for _, kind, part in _sorted(reader.relations(targets.get(sheet.get(f"{_OFFICE}id"), ("", ""))[1])):
            if kind == "comments":
                lines += reader.paragraphs(part, "comment", "t")
            elif kind == "drawing":
                lines += reader.paragraphs(part, "p", "t")
                charts = _sorted(reader.relations(part))
                lines += [line for _, kind, chart in charts if kind == "chart" for line in reader.chart(chart)]
        if lines:
            found[number] = lines
    return found


def _sorted(relations: dict[str | None, tuple[str, str]]) -> list[tuple[str, str, str]]:
    return sorted((str(key), kind, part) for key, (kind, part) in relations.items())


class _Reader:
    """Reads parts of the archive, each within a limit, with nothing resolved."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._names = frozenset(archive.namelist())
        self._left = _MAX_PARTS

    @property
    def has_objects(self) -> bool:
        return any(name.startswith(("xl/drawings/", "xl/comments")) for name in self._names)

    def part(self, name: str) -> etree._Element | None:
        if name not in self._names or self._left <= 0 or self._archive.getinfo(name).file_size > _MAX_PART_BYTES:
            return None
        self._left -= 1
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, recover=True)
        try:
            return etree.fromstring(self._archive.read(name), parser)
        except (etree.XMLSyntaxError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
            return None

    def relations(self, part: str) -> dict[str | None, tuple[str, str]]:
        """Return id -> (last word of the type, part) of what a part refers to inside the archive."""
        folder, name = posixpath.split(part)
        root = self.part(f"{folder}/_rels/{name}.rels") if part else None
        return {
            one.get("Id"): (one.get("Type", "").rpartition("/")[2], _resolved(folder, one.get("Target", "")))
            for one in (root if root is not None else ())
            if isinstance(one.tag, str) and one.get("TargetMode") != "External"
        }

    def paragraphs(self, part: str, block: str, text: str) -> list[str]:
        """Return the text of each `block`, made of its `text` elements."""
        root = self.part(part)
        if root is None:
            return []
        lines = (
            "".join(run.text or "" for run in found.iterfind(f".//{{*}}{text}")) for found in root.iter(f"{{*}}{block}")
        )
        return [" ".join(line.split()) for line in lines if line.strip()]

    def chart(self, part: str) -> list[str]:
        """Return titles, then names, categories once, and values, a line for each series."""
        root = self.part(part)
        if root is None:
            return []
        names: list[str] = []
        categories: list[str] = []
        values: list[str] = []
        for series in root.iter("{*}ser"):
            for path, lines in (
                ("tx", names),
                ("cat", categories),
                ("xVal", categories),
                ("val", values),
                ("yVal", values),
            ):
                points = [point.text or "" for point in series.iterfind(f"{{*}}{path}//{{*}}v")]
                lines.append("\t".join(points))
        lines = [*self.paragraphs(part, "p", "t"), *names, *dict.fromkeys(categories), *values]
        return [line for line in lines if line.strip()]


def _resolved(folder: str, target: str) -> str:
    return posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")
