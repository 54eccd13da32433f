"""Django's own lists of people and groups, guarded like all others of this site."""

from typing import TYPE_CHECKING

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User

from queueadmin.ledger_admin import GuardedAdmin

if TYPE_CHECKING:
    _UserAdmin = UserAdmin[User]
else:
    _UserAdmin = UserAdmin  # generic in the stubs only

admin.site.unregister([User, Group])


@admin.register(User)
class PeopleAdmin(GuardedAdmin, _UserAdmin):
    """Django's, whatever an address or a form says."""


@admin.register(Group)
class GroupsAdmin(GuardedAdmin, GroupAdmin):
    """Django's, whatever an address or a form says."""
