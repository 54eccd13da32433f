"""Text in pictures: tesseract where it is installed, else RapidOCR, whose wheel brings its models.

A reader gets one picture (Pillow, "L" or "RGB") and returns its lines from top to bottom.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.util
import io
import subprocess
from collections.abc import Sequence
from typing import Any, Protocol

from PIL import Image

from documents.extraction import tools
from documents.extraction.base import Ocr, Request
from documents.extraction.errors import Damaged, OcrUnavailable

_MANY_LANGUAGES = 4
"""Without a choice, tesseract gets at most so many of the installed languages: each one costs time and accuracy."""
_LINE_OVERLAP = 0.5
_SURE = 0.5
_THREADS = 2


class Reader(Protocol):
    """One way to read a picture."""

    name: str

    def read(self, picture: Image.Image, *, dpi: int, request: Request) -> str:
        """Return the text, "" if there is none."""


class TesseractReader:
    """tesseract as a program: one picture, one process."""

    name = "tesseract"

    def read(self, picture: Image.Image, *, dpi: int, request: Request) -> str:
        """Recognise with automatic page segmentation, turning the page first where its script data is installed."""
        data = io.BytesIO()
        picture.save(data, "PPM")
        languages = "+".join(chosen_languages(request.ocr))
        text = ""
        for mode in ("1", "3") if "osd" in installed_languages() else ("3",):
            arguments = ["stdin", "stdout", "-l", languages, "--dpi", str(dpi), "--psm", mode]
            try:
                found = tools.run("tesseract", arguments, request, data=data.getvalue())
            except Damaged:  # Mode 1 fails where a page has too few characters to tell which way is up.
                continue
            text = _tidy(found.decode("utf-8", "replace"))
            if text:
                break
        return text


class RapidReader:
    """RapidOCR (Apache-2.0, PP-OCR models in the wheel): about a second to load, kept for the life of the child."""

    name = "rapidocr"

    def read(self, picture: Image.Image, *, dpi: int, request: Request) -> str:
        """Recognise; words that stand side by side become one line."""
        numpy = importlib.import_module("numpy")
        found = _rapid()(numpy.asarray(picture.convert("RGB"))[:, :, ::-1])
        if found.txts is None:
            return ""
        boxes = [[(float(x), float(y)) for x, y in box] for box in found.boxes]
        words = [
            _Word.of(text, box)
            for text, box, score in zip(found.txts, boxes, found.scores, strict=True)
            if float(score) >= _SURE and text.strip()
        ]
        return "\n".join(_lines(words))


@functools.lru_cache(maxsize=1)
def _rapid() -> Any:
    rapidocr = importlib.import_module("rapidocr")
    return rapidocr.RapidOCR(
        params={
            "Global.log_level": "critical",
            # One line of text at a time: half the memory of six, at the same speed on few cores.
            "Rec.rec_batch_num": 1,
            "EngineConfig.onnxruntime.intra_op_num_threads": _THREADS,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            "EngineConfig.onnxruntime.enable_cpu_mem_arena": False,
        }
    )


def readers() -> tuple[Reader, ...]:
    """Return what this machine can read pictures with, best first. Raises OcrUnavailable when there is nothing."""
    found: list[Reader] = []
    if tools.find("tesseract") and installed_languages():
        found.append(TesseractReader())
    if has_rapidocr():
        found.append(RapidReader())
    if not found:
        raise OcrUnavailable(package="tesseract-ocr")
    return tuple(found)


def has_rapidocr() -> bool:
    """Tell whether RapidOCR and what it needs are installed, without importing them."""
    return all(importlib.util.find_spec(name) is not None for name in ("rapidocr", "onnxruntime", "cv2", "numpy"))


def installed_languages() -> tuple[str, ...]:
    """Return tesseract's languages, () without tesseract."""
    path = tools.find("tesseract")
    return _languages_of(path) if path else ()


@functools.lru_cache(maxsize=4)
def _languages_of(path: str) -> tuple[str, ...]:
    done = subprocess.run(
        [path, "--list-langs"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False
    )
    return tuple(line.strip() for line in done.stdout.splitlines()[1:] if line.strip())


def chosen_languages(ocr: Ocr) -> Sequence[str]:
    """Return the languages to read in: those asked for that are installed, else English and what else is there."""
    installed = [name for name in installed_languages() if name not in ("osd", "equ", "snum")]
    asked = [name for name in ocr.languages if name in installed]
    if asked:
        return asked
    return sorted(installed, key=lambda name: (name != "eng", name))[:_MANY_LANGUAGES] or ["eng"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Word:
    """A recognised piece of text and the upright box around it (pixels)."""

    text: str
    left: float
    top: float
    bottom: float

    @classmethod
    def of(cls, text: str, box: Sequence[tuple[float, float]]) -> _Word:
        xs, ys = [x for x, _ in box], [y for _, y in box]
        return cls(text=text.strip(), left=min(xs), top=min(ys), bottom=max(ys))


def _lines(words: Sequence[_Word]) -> list[str]:
    """Join pieces whose heights overlap, left to right."""
    lines: list[list[_Word]] = []
    for word in sorted(words, key=lambda word: (word.top + word.bottom) / 2):
        height = max(word.bottom - word.top, 1.0)
        last = lines[-1][-1] if lines else None
        if last and min(last.bottom, word.bottom) - max(last.top, word.top) > _LINE_OVERLAP * height:
            lines[-1].append(word)
        else:
            lines.append([word])
    return [" ".join(word.text for word in sorted(line, key=lambda word: word.left)) for line in lines]


def _tidy(text: str) -> str:
    lines = [line.strip() for line in text.replace("\f", "\n").splitlines()]
    return "\n".join(line for line in lines if line)


def read_picture(picture: Image.Image, *, dpi: int, request: Request) -> tuple[str, str]:
    """Return (text, reader's name). The second reader is asked when the first one finds next to nothing."""
    picture = prepared(picture, request.ocr)
    if is_blank(picture):
        return "", ""
    best, name = "", ""
    for reader in readers():
        text = reader.read(picture, dpi=dpi, request=request)
        if sum(map(str.isalnum, text)) > sum(map(str.isalnum, best)):
            best, name = text, reader.name
        if sum(map(str.isalnum, best)) >= 8:
            break
    return best, name


def prepared(picture: Image.Image, ocr: Ocr) -> Image.Image:
    """Shrink to the pixel limit, put on white what is transparent, enlarge what is too small for letters."""
    width, height = picture.size
    pixels = width * height
    if pixels > ocr.max_pixels:
        factor = (ocr.max_pixels / pixels) ** 0.5
        picture.draft("RGB", (max(1, int(width * factor)), max(1, int(height * factor))))
        picture.thumbnail((max(1, int(width * factor)), max(1, int(height * factor))))
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        picture = picture.convert("F").point(lambda value: value / 257.0)
    return picture.convert("L" if picture.mode in ("1", "L", "LA", "F") else "RGB")


def is_blank(picture: Image.Image) -> bool:
    """Tell whether the picture has one colour."""
    extrema = picture.getextrema()
    bands = [extrema] if isinstance(extrema[0], int | float) else list(extrema)
    return all(low == high for low, high in bands)
