"""The WSGI application that granian serves."""

import os
from typing import Any

from django.core.exceptions import SuspiciousOperation
from django.core.handlers.wsgi import WSGIRequest
from django.core.wsgi import get_wsgi_application

from documents.api.stopping import stop_signal
from ingestion_site import http_metrics, traces

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ingestion_site.settings")
os.environ.setdefault("QUEUEADMIN_PROCESS", "web")


_NO_LENGTH = str(2**62)
"""More than any body has: it is read to its end, or to what is allowed of it."""


class TolerantRequest(WSGIRequest):
    """A request whose body may come in chunks, and whose `charset` may name anything.

    A body in chunks (what streaming clients send, and curl from a pipe) has no Content-Length, and Django takes it for
    an empty one, so that every field was missing. A server that ends the body itself says so, as granian does.

    Django decodes the query string by it while it makes the request: "charset=hex" is a codec, but none for text,
    and raised before anything of ours could answer; so did more than DATA_UPLOAD_MAX_NUMBER_FIELDS parameters. Such
    a charset is ignored, as Django ignores unknown ones; whoever needs the parameters gets the error then.
    """

    def __init__(self, environ: dict[str, Any]) -> None:
        if environ.get("HTTP_TRANSFER_ENCODING") and environ.get("wsgi.input_terminated"):
            environ["CONTENT_LENGTH"] = _NO_LENGTH
        super().__init__(environ)

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            super()._set_content_type_params(meta)  # type: ignore[misc]  # the stubs leave it out
        except (LookupError, ValueError, SuspiciousOperation):
            self._encoding = None


http_metrics.prepare()
stop_signal.watch()
application = get_wsgi_application()
application.request_class = TolerantRequest
traces.start()
