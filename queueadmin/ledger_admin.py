"""What all lists of ledger rows in the admin have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import BadRequest, ValidationError
from django.forms import CheckboxInput, Media
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from queueadmin import display
from queueadmin.filters import BoundedPaginator

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin  # generic in the stubs only


class GuardedAdmin(_ModelAdmin):
    """Lists that take whatever an address or a form says: what no column can hold finds nothing, and is no failure.

    PostgreSQL refuses a statement with a NUL in it, and Django asks its database for anything.
    """

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Back to the list without filters, as Django does with those that it does not know."""
        if any("\0" in value for _, values in request.GET.lists() for value in values):
            raise IncorrectLookupParameters
        changes = super().get_changelist_instance(request)
        changes.title = capfirst(str(self.opts.verbose_name_plural))  # "Select job to view" says nothing of the list
        return changes

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Asked by the fields that complete what is typed, too, without a list."""
        if "\0" in search_term:
            return queryset.none(), False
        found: tuple[Any, bool] = super().get_search_results(request, queryset, search_term)
        return found

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        return None if "\0" in object_id else super().get_object(request, object_id, from_field)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Django's; a selection with a damaged key in it is refused, not looked for."""
        for key in request.POST.getlist(ACTION_CHECKBOX_NAME):
            self._require_key(key)
        return super().changelist_view(request, extra_context)

    def _require_key(self, key: str) -> None:
        """Raises BadRequest for what no row's key can be."""
        try:
            self.opts.pk.run_validators(self.opts.pk.to_python(key))
        except ValidationError as error:
            raise BadRequest("The keys of the selected rows are damaged.") from error
        if "\0" in key:
            raise BadRequest("The keys of the selected rows are damaged.")


class LedgerAdmin(GuardedAdmin):
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
