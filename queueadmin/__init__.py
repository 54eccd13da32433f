"""Durable, audited jobs for Dramatiq in Django, and their control plane."""
