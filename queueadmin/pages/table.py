"""Every page of the control plane, in the order of the menu."""

from __future__ import annotations

from queueadmin.pages.audit import audit
from queueadmin.pages.base import Page
from queueadmin.pages.bulk import bulk_list, bulk_new, bulk_page
from queueadmin.pages.dead_letters import dead_letters, export
from queueadmin.pages.failures import failures
from queueadmin.pages.overview import overview
from queueadmin.pages.periodic import periodic
from queueadmin.pages.truth import truth
from queueadmin.pages.workers import drain_worker, workers

SEE_JOBS = "queueadmin.view_job"
SEE_WORKERS = "queueadmin.view_workerprocess"

PAGES = (
    Page(name="overview", title="Overview", view=overview, permission=SEE_JOBS, is_live=True),
    Page(name="failures", title="Failures", view=failures, permission=SEE_JOBS),
    Page(name="dead_letters", title="Dead letters", view=dead_letters, permission=SEE_JOBS),
    Page(name="workers", title="Workers", view=workers, permission=SEE_WORKERS, is_live=True),
    Page(
        name="dead_letters_export", title="Dead letters", view=export, permission=SEE_JOBS,
        route="dead_letters/export/<str:form>", in_menu=False,
    ),
    Page(name="bulk_list", title="Bulk operations", view=bulk_list, permission=SEE_JOBS, route="bulk"),
    Page(
        name="truth", title="Ledger and broker", view=truth, permission="queueadmin.view_queuecontrol",
        post_permission="queueadmin.repair_queue",
    ),
    Page(
        name="drain_worker", title="Drain a worker", view=drain_worker, permission=SEE_WORKERS,
        post_permission="queueadmin.drain_worker", route="workers/<int:worker_id>/drain", in_menu=False,
    ),
    Page(name="audit", title="Audit", view=audit, permission="queueadmin.view_operationlog"),
    # What it may do depends on the operation, so each view asks for that permission as well.
    Page(name="periodic", title="Periodic jobs", view=periodic, permission=SEE_JOBS, post_permission=SEE_JOBS),
    Page(
        name="bulk_new", title="Bulk operation", view=bulk_new, permission=SEE_JOBS, post_permission=SEE_JOBS,
        route="bulk/new", in_menu=False,
    ),
    Page(
        name="bulk", title="Bulk operation", view=bulk_page, permission=SEE_JOBS, post_permission=SEE_JOBS,
        route="bulk/<uuid:bulk_id>", in_menu=False,
    ),
)  # fmt: skip
