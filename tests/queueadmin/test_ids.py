"""Ids are ordered by time, and the same message always has the same one."""

import uuid

from dramatiq.message import generate_unique_id
from hypothesis import given
from hypothesis import strategies as st

from queueadmin.ids import job_id_of, new_worker_id, uuid7

MS = st.integers(0, 2**48 - 1)


@given(earlier=MS, later=MS)
def test_ids_sort_by_their_time(earlier: int, later: int) -> None:
    if earlier < later:
        assert uuid7(earlier).int < uuid7(later).int


@given(given_id=st.uuids(version=4), ms=MS)
def test_a_message_sent_again_is_the_same_job(given_id: uuid.UUID, ms: int) -> None:
    job_id = job_id_of(str(given_id), ms)
    assert job_id == job_id_of(str(given_id), ms)
    assert job_id.version == 7
    assert job_id.variant == uuid.RFC_4122
    assert job_id.int >> 80 == ms
    assert job_id_of(str(job_id), ms + 1) == job_id


def test_ids_of_different_messages_differ() -> None:
    assert len({job_id_of(generate_unique_id(), 1) for _ in range(1000)}) == 1000


def test_a_worker_id_fits_a_signed_column() -> None:
    assert all(0 < new_worker_id() < 2**63 for _ in range(100))
