"""What schemathesis cannot know of this API; it imports this file (SCHEMATHESIS_HOOKS)."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import schemathesis
from hypothesis import strategies as st

names = st.sampled_from(["example.org", "xn--bcher-kva.example", "hooks-1.example.net", "bücher.example"])
ports = st.sampled_from(["", ":80", ":443", ":1024", ":65535"])
paths = st.sampled_from(["", "/", "/hooks/documents", "/a%20b;c=1/~x", "?q=1", "/hook?task=%C3%BC&b"])

# Callback URLs are narrower than RFC 3986: http alone, no user, a host.
schemathesis.openapi.format(
    "uri", st.builds("{}://{}{}{}".format, st.sampled_from(["http", "https"]), names, ports, paths)
)

# Times are judged by the clock, which no schema knows: a task begins within a year, a pause ends in the future.
begun = datetime.now(UTC).replace(microsecond=0)
zones = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
schemathesis.openapi.format(
    "date-time",
    st.builds(
        lambda days, seconds, micros, zone: (begun + timedelta(days, seconds, micros)).astimezone(zone).isoformat(),
        st.integers(1, 300), st.integers(0, 86_399), st.integers(0, 999_999) | st.just(0), zones,
    ),
)  # fmt: skip

USUAL = frozenset({
    "connection", "content-length", "content-security-policy", "content-type", "cross-origin-opener-policy", "date",
    "referrer-policy", "server", "transfer-encoding", "x-content-type-options", "x-frame-options",
})  # fmt: skip
"""Headers of HTTP itself, and those that browsers want of every answer."""


@schemathesis.check
def every_header_is_documented(ctx: Any, response: Any, case: Any) -> None:
    """schemathesis looks at headers that the document has; this looks whether it has those that came."""
    declared = case.operation.responses.find_by_status_code(response.status_code)
    if declared is None:
        return  # status_code_conformance says so
    documented = {name.lower() for name, _ in declared.headers.items()}
    unknown = {name.lower() for name in response.headers} - documented - USUAL
    assert not unknown, f"undocumented headers: {', '.join(sorted(unknown))}"
