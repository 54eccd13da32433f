"""Pictures (png, jpg, tiff, gif): the text in them, one page for each frame."""

from __future__ import annotations

import warnings
from typing import Any

from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from documents.extraction.base import (
    LOOKED,
    OCR_OFF,
    PICTURES,
    VISIBLE_WITHOUT_TEXT,
    Extraction,
    Identity,
    JsonValue,
    Page,
    Request,
    extraction,
)
from documents.extraction.engines import ocr
from documents.extraction.errors import Damaged, DecompressionBomb, TooManyPages

_MAX_PIXELS = 250_000_000
_DEFAULT_DPI = 72


class ImageEngine:
    """Reads pictures with whatever recognises text on this machine."""

    name = "ocr"
    spawns = True

    def accepts(self, identity: Identity) -> bool:
        """Only pictures."""
        return identity.extension in PICTURES

    def extract(self, request: Request) -> Extraction:
        """Read every frame. Raises Damaged, DecompressionBomb, TooManyPages, OcrUnavailable."""
        if request.ocr.mode != "off":
            ocr.readers()  # Without any there is no use in decoding the picture.
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                Image.MAX_IMAGE_PIXELS = None  # Our own limit follows; Pillow's would end in a warning first.
                with Image.open(request.path) as picture:
                    return self._read(picture, request)
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
            # Pillow signals broken pictures with all of these.
            raise Damaged("The picture is damaged.", evidence={"exception": type(error).__name__}) from error

    def _read(self, picture: Image.Image, request: Request) -> Extraction:
        frames = int(getattr(picture, "n_frames", 1)) if request.identity.extension == "tiff" else 1
        if frames > request.max_pages:
            raise TooManyPages()
        metadata: dict[str, JsonValue] = {"width": picture.width, "height": picture.height, "frames": frames}
        if request.ocr.mode == "off":
            pages = [Page(number=number, text="") for number in range(1, frames + 1)]
            return extraction(self.name, request, pages, metadata=metadata, warnings=[OCR_OFF])
        pages = []
        used: set[str] = set()
        for number, frame in enumerate(ImageSequence.Iterator(picture), start=1):
            if number > frames:
                break
            if frame.width * frame.height > _MAX_PIXELS:
                raise DecompressionBomb(f"The picture has {frame.width} x {frame.height} pixels.")
            text, reader = ocr.read_picture(_upright(frame), dpi=_dpi(frame), request=request)
            used.add(reader)
            pages.append(Page(number=number, text=text))
            request.report("ocr", number, frames)
        metadata[LOOKED] = {"engine": ", ".join(sorted(filter(None, used))), "pages": len(pages)}
        metadata[VISIBLE_WITHOUT_TEXT] = sum(not page.text for page in pages) or None
        return extraction(self.name, request, pages, metadata=metadata)


def _upright(frame: Image.Image) -> Image.Image:
    """Turn the picture as its camera says."""
    return ImageOps.exif_transpose(frame.copy()) or frame


def _dpi(frame: Image.Image) -> int:
    """Return the resolution the picture claims, or 0 where it is no use."""
    value: Any = frame.info.get("dpi", (0, 0))
    try:
        found = round(float(value[0]))
    except (TypeError, ValueError, IndexError, ZeroDivisionError, OverflowError):
        found = 0
    return found if 70 <= found <= 2400 else _DEFAULT_DPI
