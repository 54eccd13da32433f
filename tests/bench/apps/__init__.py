"""The applications that are measured: each does the same no-op job, or the same insert, its own way."""
