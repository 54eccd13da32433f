"""What the settings come to."""

from __future__ import annotations

import pytest

from documents.conf import extraction_children


@pytest.mark.parametrize(
    ("cores", "processes", "children"),
    [(1, 1, 1), (1, 4, 1), (2, 1, 2), (2, 2, 2), (4, 4, 2), (8, 1, 8), (8, 3, 3), (16, 4, 4), (64, 64, 2)],
)
def test_the_worker_processes_of_a_machine_share_its_cores(cores: int, processes: int, children: int) -> None:
    """Never fewer than two where there are two: one long document must not hold up all others of its process."""
    assert extraction_children(cores=cores, processes=processes) == children
