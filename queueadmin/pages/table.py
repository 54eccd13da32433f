"""Every page of the control plane, in the order of the menu."""

from __future__ import annotations

from queueadmin.pages.base import Page
from queueadmin.pages.overview import overview

PAGES = (
    Page(name="overview", title="Overview", view=overview, permission="queueadmin.view_job", is_live=True),
)  # fmt: skip
