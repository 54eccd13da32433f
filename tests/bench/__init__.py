"""`make bench`: this service beside raw Dramatiq, django_dramatiq, Celery, Procrastinate and a bare DRF view.

Every contender is an application of its own under `apps/`, run in processes of its own against the same real
servers; the harness touches no Django. See docs/benchmarks.md for what each number means.
"""
