"""Faults on purpose: real servers and workers, broken in every way that production breaks them (`make faults`)."""
