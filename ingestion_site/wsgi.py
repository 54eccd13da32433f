"""The WSGI application that granian serves."""

import os
from typing import Any

from django.core.handlers.wsgi import WSGIRequest
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ingestion_site.settings")


class TolerantRequest(WSGIRequest):
    """A request whose `charset` may name anything.

    Django decodes the query string by it while it makes the request: "charset=hex" is a codec, but none for text,
    and raised before anything of ours could answer. Such a charset is ignored, as Django ignores unknown ones.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            super()._set_content_type_params(meta)
        except (LookupError, ValueError):
            self._encoding = None


application = get_wsgi_application()
application.request_class = TolerantRequest
