"""A new operator's walk through docs/operations.md, on one machine: `make walk`."""
