"""What people wrote into a PDF: the values of its form fields, and the text of its annotations."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from types import TracebackType

import pypdfium2 as pdfium
from pypdfium2 import raw

_MAX_ANNOTATIONS = 500
_MAX_CHARACTERS = 64 * 1024
_WRITTEN = frozenset({raw.FPDF_ANNOT_FREETEXT, raw.FPDF_ANNOT_TEXT})


class FormFields:
    """Reads the fields of a document's pages. Use as a context; the form must be closed before the document."""

    def __init__(self, document: pdfium.PdfDocument) -> None:
        self._document = document
        self._form: pdfium.PdfFormEnv | None = None

    def __enter__(self) -> FormFields:
        if self._document.get_formtype() != raw.FORMTYPE_NONE:
            try:
                self._document.init_forms()
                self._form = self._document.formenv
            except pdfium.PdfiumError:
                self._form = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._form is not None:
            self._form.close()

    def values(self, page: pdfium.PdfPage) -> Iterator[str]:
        """Yield the values and remarks on one page, in the order of the file."""
        for number in range(min(raw.FPDFPage_GetAnnotCount(page), _MAX_ANNOTATIONS)):
            annotation = raw.FPDFPage_GetAnnot(page, number)
            if not annotation:
                continue
            try:
                if value := self._value(annotation).strip():
                    yield value
            finally:
                raw.FPDFPage_CloseAnnot(annotation)

    def _value(self, annotation: object) -> str:
        kind = raw.FPDFAnnot_GetSubtype(annotation)
        if kind in _WRITTEN:
            return _string(lambda buffer, size: raw.FPDFAnnot_GetStringValue(annotation, b"Contents", buffer, size))
        if kind != raw.FPDF_ANNOT_WIDGET or self._form is None:
            return ""
        form = self._form
        if raw.FPDFAnnot_GetFormFieldType(form, annotation) not in (
            raw.FPDF_FORMFIELD_TEXTFIELD, raw.FPDF_FORMFIELD_COMBOBOX, raw.FPDF_FORMFIELD_LISTBOX,
        ):  # fmt: skip
            return ""
        return _string(lambda buffer, size: raw.FPDFAnnot_GetFormFieldValue(form, annotation, buffer, size))


def _string(read: Callable[[object, int], int]) -> str:
    """Call a pdfium function that fills a buffer with UTF-16; it returns the bytes needed, with the closing NUL."""
    size = read(None, 0)
    if not 2 < size <= _MAX_CHARACTERS:
        return ""
    buffer = ctypes.create_string_buffer(size)
    read(ctypes.cast(buffer, ctypes.POINTER(raw.FPDF_WCHAR)), size)
    return buffer.raw[: size - 2].decode("utf-16-le", "replace")
