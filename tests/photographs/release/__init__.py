"""An application of somebody's, whose release 3.1.0 is bad: the storm of docs/operations.md."""

QUEUE = "reports"
BAD, GOOD = "3.1.0", "3.1.1"
VARIABLE = "RELEASE"
"""Says which release runs, as an image's tag would."""
