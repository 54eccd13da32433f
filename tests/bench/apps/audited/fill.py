"""`python -m tests.bench.apps.audited.fill N` sends N jobs, whose Task rows are inserted in one transaction."""

import sys

import django


def main(count: int) -> None:
    django.setup()
    from django.db import transaction

    from tests.bench.apps.audited import tasks

    with transaction.atomic():
        for number in range(count):
            tasks.noop.send(number)


if __name__ == "__main__":
    main(int(sys.argv[1]))
