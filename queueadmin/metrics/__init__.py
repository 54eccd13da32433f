"""Metrics of the whole installation, whichever process is asked: read from the ledger, in Prometheus' format."""
