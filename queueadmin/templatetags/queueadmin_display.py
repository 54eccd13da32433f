"""Template filters over `queueadmin.display`, and times that are relative to read and exact on hover."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from queueadmin import display
from queueadmin.states import State

register = template.Library()

_LABELS = {str(value): str(label) for value, label in State.choices}


@register.filter
def duration(seconds: float | None) -> str:
    return display.duration(seconds)


@register.filter
def thousands(value: object) -> str:
    """A whole number in groups of three digits; what is none as it is."""
    return f"{value:,}" if isinstance(value, int) else str(value)


@register.filter
def percent(value: float | None) -> str:
    """With one decimal below ten; what is not nothing is not shown as nothing."""
    if value is None:
        return "-"
    if 0 < value < 0.1:
        return "< 0.1 %"
    return f"{value:.1f} %" if 0 < value < 10 else f"{value:.0f} %"


@register.filter
def size(count: int | None) -> str:
    return display.size(count)


@register.filter
def pretty_json(value: Any) -> str:
    return display.pretty_json(value)


@register.filter
def one_line(detail: dict[str, Any]) -> str:
    return display.one_line(detail)


@register.filter
def fact(value: Any) -> str:
    """A note of any kind in one line: text as it is, the rest as JSON."""
    return display.fact(value)


@register.filter
def visible(text: object) -> str:
    return display.visible(text)


@register.filter
def visible_lines(text: object) -> str:
    return display.visible(text, limit=8_000, lines=True)


@register.filter
def copyable(value: object) -> SafeString:
    """An id or the like, with a button that copies it. Control characters are spelt out, in the copy as well."""
    return format_html(
        '<span class="qa-copyable"><code class="qa-id">{}</code> '
        '<button type="button" class="qa-copy" data-copy="{}" aria-label="Copy {}">Copy</button></span>',
        display.visible(value), display.visible(value, limit=2_000), display.visible(value, limit=100),
    )  # fmt: skip


@register.filter
def state_badge(state: str) -> SafeString:
    """A state as a coloured label; the colour only repeats the word."""
    known = state if state in _LABELS else "unknown"
    return format_html(
        '<span class="qa-state qa-state-{}">{}</span>', known, _LABELS.get(state, display.visible(state))
    )


@register.filter
def ago(moment: datetime | None) -> SafeString | str:
    """How long ago, or how far ahead, with the exact time on hover."""
    if moment is None:
        return "-"
    seconds = (timezone.now() - moment).total_seconds()
    text = f"{display.duration(seconds)} ago" if seconds >= 0 else f"in {display.duration(-seconds)}"
    return _time(moment, text)


@register.filter
def age(moment: datetime | None) -> SafeString | str:
    """How long ago in one unit, with the exact time on hover."""
    if moment is None:
        return "-"
    return _time(moment, display.age((timezone.now() - moment).total_seconds()))


@register.filter
def exact(moment: datetime | None) -> SafeString | str:
    """A time to the millisecond, with its distance from now on hover."""
    if moment is None:
        return "-"
    local = timezone.localtime(moment)
    distance = display.duration((timezone.now() - moment).total_seconds())
    text = f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03}"
    return format_html('<time datetime="{}" title="{} ago">{}</time>', moment.isoformat(), distance, text)


def _time(moment: datetime, text: str) -> SafeString:
    exactly = f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S %Z}"
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), exactly, text)


@register.filter
def times(number: int, factor: int) -> int:
    return number * factor


@register.filter
def bar_height(percent: int, room: int) -> int:
    """The height of a bar of 0 to 100 per cent in a chart `room` high; what is not nothing is seen."""
    return max(1, round(percent * room / 100)) if percent else 0


@register.filter
def bar_top(percent: int, room: int) -> int:
    return room - bar_height(percent, room)
