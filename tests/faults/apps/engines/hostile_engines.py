"""The table of engines as it is shipped, but for plain text: there, documents may do what a hostile file does.

Runs inside the extraction's child, which may read this directory and nothing else of the harness.
"""

from __future__ import annotations

import ctypes

from documents.extraction import registry
from documents.extraction.base import Engine, Extraction, Identity, Request

DEADLY, GREEDY = "deadly", "greedy"  # as in tests.faults.apps.plan
_PIECE = 16 * 1024 * 1024


class Hostile:
    """Reads as `engine` does, unless the first line says otherwise."""

    spawns = False

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name = engine.name

    def accepts(self, identity: Identity) -> bool:
        return self._engine.accepts(identity)

    def extract(self, request: Request) -> Extraction:
        with request.path.open() as file:
            first = file.readline().strip()
        if first == DEADLY:
            ctypes.string_at(0)  # SIGSEGV, as a C library does that trusts a length
        hoard = []
        while first == GREEDY:
            hoard.append(b"x" * _PIECE)  # written to, not only asked for
        return self._engine.extract(request)


ENGINES: dict[str, tuple[Engine, ...]] = {
    **registry.ENGINES,
    "txt": tuple(Hostile(engine) for engine in registry.ENGINES["txt"]),
}
FINISHERS = registry.FINISHERS
