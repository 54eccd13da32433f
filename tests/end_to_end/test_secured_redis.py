"""A document from submission to result, with Redis over TLS and the service's user allowed the least."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queueadmin.states import State
from tests.redis_servers import SecuredServer, variables_of

if TYPE_CHECKING:
    from tests.end_to_end.service import Service


def test_a_document_is_ingested_over_tls_by_a_user_with_the_least_rights(service: Service) -> None:
    with SecuredServer() as secured:
        # Given a document, submitted while only another Redis was there
        service.put("note.txt", b"What the service may do is listed.")
        task_id = service.submit("note.txt")
        # When a worker is started with the variables that an operator would set
        worker = service.worker(**variables_of(secured.options))
        # Then it ingests the document
        assert service.one(task_id).state == State.COMPLETED
        # And was refused nothing, and the password is in nobody's log
        with secured.admin() as admin:
            assert admin.acl_log() == []
            assert admin.exists("{ingestion}:epoch")
        assert "test-password" not in worker.output()
