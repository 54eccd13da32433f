"""Dramatiq on Redis with django_dramatiq's AdminMiddleware, which keeps a Task row per job."""
