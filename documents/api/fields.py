"""The fields of requests, strict about type and size; and names that answers are made of."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.core.validators import MaxLengthValidator
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from documents.api.body import MAX_INTEGER, unstorable
from documents.callbacks import addresses
from queueadmin.states import State

MAX_METADATA_BYTES = 16 * 1024
MAX_METADATA_DEPTH = 16
MAX_LANGUAGES = 8
LATEST_RUN = timedelta(days=366)
_MOMENT_CHARACTERS = 40
_LAST_PAGE = 10**7
_UUID_CHARACTERS = 36
_DIGITS = re.compile(r"-?[0-9]+")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

# For the OpenAPI document, in the words of ECMA-262. Surrogates are left out: to many readers every emoji has two.
_SHOWN_CONTROL = r"\u0000-\u001f\u007f-\u009f\u2028\u2029"
_SHOWN_BLANK = r"\u0020\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
LINE_PATTERN = f"^[^{_SHOWN_CONTROL}]*[^{_SHOWN_CONTROL}{_SHOWN_BLANK}][^{_SHOWN_CONTROL}]*$"
"""A line of text that is not blank."""
_IN_SEGMENT = rf"[^/\\{_SHOWN_CONTROL}]"
_SEGMENT = rf"([^/.\\{_SHOWN_CONTROL}]|\.[^/.\\{_SHOWN_CONTROL}]|\.\.{_IN_SEGMENT}){_IN_SEGMENT}{{0,252}}"
KEY_PATTERN = f"^{_SEGMENT}(/{_SEGMENT})*$"
"""A plain relative path: no empty, "." or ".." segment."""


class PlainText(serializers.CharField):
    """One line of text, kept exactly as it came. Numbers are not turned into text."""

    default_error_messages = {
        "invalid": "This must be a string.",
        "control": "Control characters and halves of surrogate pairs are not allowed.",
    }

    def __init__(self, *, max_length: int, **kwargs: Any) -> None:
        super().__init__(max_length=max_length, trim_whitespace=False, **kwargs)
        # Those for NUL and surrogates as well have nothing left to find, and were a tenth of a batch's time.
        self.validators = [item for item in self.validators if isinstance(item, MaxLengthValidator)]

    def shown(self) -> dict[str, Any]:
        """Its schema in the OpenAPI document."""
        return {"type": "string", "minLength": 1, "maxLength": self.max_length, "pattern": LINE_PATTERN}

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        if _CONTROL.search(data):
            self.fail("control")
        if not self.allow_blank and not data.strip():
            self.fail("blank")
        return data


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "minLength": 1, "maxLength": 255, "pattern": LINE_PATTERN},
            {"type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER},
        ]
    },
    component_name="Identifier",
)
class Identifier(PlainText):
    """An id of the client's own. Many clients number their users, so integers are taken and kept as text."""

    default_error_messages = {"integer": "This is an integer beyond 64 bits. Send it as a string."}

    def run_validation(self, data: Any = serializers.empty) -> Any:
        if isinstance(data, int) and not isinstance(data, bool):
            if abs(data) > MAX_INTEGER:
                self.fail("integer")
            data = str(data)
        return super().run_validation(data)


class DocumentKey(serializers.CharField):
    """A key of the document store. What it may look like is decided by `documents.storage.normalise_key`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=1024, trim_whitespace=False, **kwargs)

    def shown(self) -> dict[str, Any]:
        """Its schema in the OpenAPI document."""
        return {"type": "string", "minLength": 1, "maxLength": self.max_length, "pattern": KEY_PATTERN}

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return data


class StrictInteger(serializers.IntegerField):
    """A JSON integer; neither text nor true."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, (int, float)) or data != data // 1:
            self.fail("invalid")
        return int(data)


class QueryInteger(serializers.IntegerField):
    """An integer in a query string: digits alone. Django REST framework takes `5.0`, `1_0` and ` 5 `, too."""

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, str) or not _DIGITS.fullmatch(data):
            self.fail("invalid")
        return super().to_internal_value(data)


class Id(serializers.UUIDField):
    """A UUID as answers write it. Django REST framework takes numbers and URNs, too, which no document promises."""

    def to_internal_value(self, data: Any) -> UUID:
        if not isinstance(data, str) or len(data) != _UUID_CHARACTERS:
            self.fail("invalid", value=data)
        return super().to_internal_value(data)


class CallbackURL(PlainText):
    """Where to send the webhook: http or https, without a user. Its address is checked at every delivery."""

    default_error_messages = {"url": "This must be an http:// or https:// URL with a host and without a user name."}

    def shown(self) -> dict[str, Any]:
        """Its schema in the OpenAPI document."""
        url = {"type": "string", "format": "uri", "maxLength": self.max_length}
        return {"anyOf": [url, {"type": "string", "enum": [""]}]} if self.allow_blank else url

    def to_internal_value(self, data: Any) -> str:
        url = super().to_internal_value(data)
        if url and not _is_callback_url(url):
            self.fail("url")
        return url


class Instant(serializers.DateTimeField):
    """A time with its offset from UTC (RFC 3339): a local time would be another one on another server."""

    default_error_messages = {"invalid": "This must be a time with an offset, such as 2026-01-31T08:00:00Z."}

    def to_internal_value(self, data: Any) -> datetime:
        if not isinstance(data, str) or len(data) > _MOMENT_CHARACTERS:
            self.fail("invalid", format="")
        try:
            moment = datetime.fromisoformat(data)
            offset = moment.utcoffset()
        except ValueError:
            self.fail("invalid", format="")
        if offset is None:
            self.fail("invalid", format="")
        try:
            return moment.astimezone(UTC)
        except OverflowError:
            self.fail("invalid", format="")


@extend_schema_field({"type": "string", "pattern": "^[1-9][0-9]{0,6}(-([1-9][0-9]{0,6})?)?$"})
class PageRange(serializers.CharField):
    """`3`, `3-7` or `3-`, as (first, last)."""

    default_error_messages = {"range": "This must be pages such as 3, 3-7 or 3-, counted from 1."}

    def to_internal_value(self, data: Any) -> Any:
        found = re.fullmatch(r"([1-9][0-9]{0,6})(?:(-)([1-9][0-9]{0,6})?)?", super().to_internal_value(data))
        if found is None:
            self.fail("range")
        first = int(found[1])
        last = int(found[3]) if found[3] else _LAST_PAGE if found[2] else first
        if last < first:
            self.fail("range")
        return first, last


class Moment(Instant):
    """When to run a task."""

    default_error_messages = {"late": "This must not be more than a year ahead."}

    def to_internal_value(self, data: Any) -> datetime:
        moment = super().to_internal_value(data)
        if moment - datetime.now(UTC) > LATEST_RUN:
            self.fail("late")
        return moment


class Languages(serializers.ListField):
    """Languages of a document, by tesseract's names; those that are not installed are left out."""

    child = serializers.RegexField(
        r"\A[A-Za-z][A-Za-z0-9_-]{1,31}\Z",
        trim_whitespace=False,
        error_messages={"invalid": "This must be a language as tesseract names it, such as eng or chi_sim."},
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=MAX_LANGUAGES, **kwargs)

    def to_internal_value(self, data: Any) -> list[str]:
        if isinstance(data, list) and not all(isinstance(item, str) for item in data):
            self.fail("not_a_list", input_type="list of other things")
        if isinstance(data, list) and len(data) > MAX_LANGUAGES:  # before repetitions are left out
            self.fail("max_length", max_length=MAX_LANGUAGES)
        return list(dict.fromkeys(super().to_internal_value(data)))


@lru_cache(maxsize=256)
def _is_callback_url(url: str) -> bool:
    """Whether the webhook client understands the URL. Which addresses it may go to is asked at delivery.

    Remembered, because the documents of a batch mostly name the same one: a fifth of what checking them costs.
    """
    try:
        addresses.parse(url, allow_private=True)
    except addresses.CallbackRefused:
        return False
    return True


@extend_schema_field({"type": "object", "additionalProperties": {}}, component_name="Metadata")
class Metadata(serializers.Field[dict[str, Any], Any, Any, Any]):
    """A JSON object of the client's own, kept with the task."""

    default_error_messages = {
        "invalid": "This must be a JSON object.",
        "unstorable": "{reason}",
        "too_large": f"This is larger than {MAX_METADATA_BYTES:,} bytes of JSON.",
    }

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            self.fail("invalid")
        if reason := unstorable(data, max_depth=MAX_METADATA_DEPTH):
            self.fail("unstorable", reason=reason)
        if len(json.dumps(data, ensure_ascii=False).encode()) > MAX_METADATA_BYTES:
            self.fail("too_large")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field({"type": "string", "enum": [str(state) for state in State]}, component_name="State")
class StateName(serializers.CharField):
    """A task's state, as docs/state_machine.md explains them."""


@extend_schema_field(
    {
        "type": "array",
        "minItems": 1,
        "maxItems": len(State),
        "uniqueItems": True,
        "items": {"type": "string", "enum": [str(state) for state in State]},
    }
)
class StateList(PlainText):
    """States by commas, in a query string."""

    default_error_messages = {"state": "There is no state {name}. States: {known}."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=200, **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        names = tuple(name.strip() for name in super().to_internal_value(data).split(","))
        for name in names:
            if name not in State.values:
                self.fail("state", name=name or "without a name", known=", ".join(State.values))
        return tuple(dict.fromkeys(names))


@extend_schema_field({"type": "string", "pattern": "^[A-Za-z0-9_-]{32}$"})
class Cursor(PlainText):
    """Where a page begins, as `documents.listing` encodes it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=64, **kwargs)


@extend_schema_field({"type": "string", "enum": ["queued"]}, component_name="Queued")
class Queued(serializers.CharField):
    """Accepted; from here on the status endpoint tells."""
