"""How much a tenant may ask of the API: requests and documents a minute, as the settings or the tenant's row say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings

from documents import tenants
from documents.models import Tenant
from queueadmin.audit import audited
from queueadmin.broker import get_ledger_broker
from queueadmin.quotas import Quota, Verdict

WINDOW_SECONDS = 60
REQUESTS, DOCUMENTS = "requests", "documents"


def spend(tenant: str, *, requests: int = 0, documents: int = 0) -> Verdict | None:
    """Count requests and documents of a tenant, if it has them left; None when nothing limits them."""
    wanted = {REQUESTS: requests, DOCUMENTS: documents}
    quotas = [
        Quota(name=name, key=f"{name}:{tenant}", amount=amount, seconds=WINDOW_SECONDS, cost=wanted[name])
        for name, amount in rates(tenant).items()
        if amount and wanted[name]
    ]
    return get_ledger_broker().quotas.spend(quotas) if quotas else None


def rates(tenant: str) -> dict[str, int]:
    """What the tenant may do in a minute; 0 is without limit. Known for some seconds."""
    own = tenants.rates(tenant)
    default = {REQUESTS: settings.REQUESTS_PER_MINUTE, DOCUMENTS: settings.DOCUMENTS_PER_MINUTE}
    return {name: default[name] if own.get(name) is None else own[name] or 0 for name in default}


def set_rates(tenant: str, changes: Mapping[str, int | None], *, by: str, source: str, user: Any = None) -> None:
    """Set `requests_per_minute` and `documents_per_minute` of a tenant; None goes back to the settings."""
    with audited("set_rates", tenant, 1, by=by, source=source, user=user, reason="") as log:
        log.done = Tenant.objects.filter(pk=tenant).update(**changes)
        log.detail = dict(changes)
    tenants.forget()
