"""The service of the end-to-end tests, which the previous release's processes are part of here."""

from tests.end_to_end.conftest import service  # noqa: F401  (a fixture is found by its name)
