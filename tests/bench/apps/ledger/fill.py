"""`python -m tests.bench.apps.ledger.fill noop N`: N jobs through the broker; `ping N`: N jobs, one now and then."""

import sys

import django

BATCH = 1000


def main(kind: str, count: int) -> None:
    django.setup()
    import dramatiq

    from tests.bench.apps import pinging
    from tests.bench.apps.ledger import tasks

    if kind == "ping":
        pinging.send(tasks.ping.send, count)
        return
    broker = dramatiq.get_broker()
    for start in range(0, count, BATCH):
        broker.enqueue_many([tasks.noop.message(number) for number in range(start, min(start + BATCH, count))])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
