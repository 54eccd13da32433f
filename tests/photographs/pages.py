"""The main pages over a ledger with a past."""

from __future__ import annotations

from pathlib import Path

import psycopg

from tests.photographs.camera import Camera, camera
from tests.photographs.stage import Stage
from tests.seed.story import WORKERS

ROWS = 20_000
PAGES = {
    "overview": "/admin/control/overview/",
    "jobs": "/admin/queueadmin/job/?q=state:dead_letter%20age%3C3d",
    "documents": "/admin/documents/ingestiontask/",
    "failures": "/admin/control/failures/?span=week",
    "dead-letters": "/admin/control/dead_letters/",
    "queues": "/admin/queueadmin/queuecontrol/",
    "workers": "/admin/control/workers/",
    "audit": "/admin/queueadmin/operationlog/",
    "truth": "/admin/control/truth/",
    "periodic": "/admin/control/periodic/",
}
_BEAT = "UPDATE queueadmin_workerprocess SET beat_at = now() WHERE id = ANY(%s)"
_AN_EXAMPLE = """
SELECT id FROM queueadmin_job WHERE state = 'dead_letter' AND actor = 'ingest_document' ORDER BY id DESC LIMIT 1
"""


def photograph(out: Path) -> None:
    """Seed a ledger, and take each page; the overview also in the dark and on a phone."""
    with Stage() as stage:
        stage.run("-m", "tests.seed", "--rows", str(ROWS), "--database", stage.database)
        url = stage.web()
        with camera(url, out) as light:
            for name, path in {**PAGES, "job": _example(stage)}.items():
                _beat(stage)
                light.shoot(name, path=path)
        with camera(url, out, scheme="dark") as dark:
            _one(stage, dark, "overview-dark")
        with camera(url, out, phone=True) as phone:
            _one(stage, phone, "overview-phone")


def _one(stage: Stage, lens: Camera, name: str) -> None:
    _beat(stage)
    lens.shoot(name, path=PAGES["overview"])


def _example(stage: Stage) -> str:
    with psycopg.connect(stage.database) as connection:
        row = connection.execute(_AN_EXAMPLE).fetchone()
    assert row is not None
    return f"/admin/documents/ingestiontask/{row[0]}/change/"


def _beat(stage: Stage) -> None:
    """The seeded workers are nobody's processes: their hearts beat by hand, but for the one that is to look silent."""
    with psycopg.connect(stage.database) as connection:
        connection.execute(_BEAT, [list(WORKERS)])
