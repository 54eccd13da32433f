"""What all lists of ledger rows in the admin have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.forms import CheckboxInput, Media
from django.http import HttpRequest
from django.utils.safestring import SafeString

from queueadmin import display
from queueadmin.filters import BoundedPaginator

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin  # generic in the stubs only


class LedgerAdmin(_ModelAdmin):
    """Read-only, and quick at any size: no full count, no facets, no page of everything."""

    actions: Any = None
    list_per_page = 50
    list_max_show_all = 0
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    change_list_template = "queueadmin/change_list.html"

    @property
    def media(self) -> Media:
        return super().media + Media(css={"all": ["queueadmin/admin.css"]})

    def action_checkbox(self, obj: Any) -> SafeString:
        """Django's, with the row's name made visible: it comes from outside."""
        label = f"Select this row for an action - {display.visible(obj, limit=100)}"
        box = CheckboxInput({"class": "action-select", "aria-label": label}, lambda value: False)
        return box.render(ACTION_CHECKBOX_NAME, str(obj.pk))

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Without "delete selected", which every ModelAdmin inherits from its site."""
        found: dict[str, Any] = super().get_actions(request)
        found.pop("delete_selected", None)
        return found


def as_id(text: str) -> UUID | None:
    """The id that `text` is, or None."""
    try:
        return UUID(text)
    except ValueError:
        return None
