"""`python -m tests.bench.apps.ledger.fill noop N`: N jobs through the broker; `ping N`: N jobs, one now and then.

`flood N`: N jobs of 0.1 s of one tenant and a tenth as many of another; `guest N`: `ping` as a third tenant.
"""

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
    if kind == "guest":
        pinging.send(lambda now: tasks.ping.send_with_options(args=(now,), partition_key="guest"), count)
        return
    broker = dramatiq.get_broker()
    if kind == "flood":
        for tenant, jobs in (("large", count), ("small", count // 10)):
            broker.enqueue_many([tasks.work.message_with_options(partition_key=tenant) for _ in range(jobs)])
        return
    for start in range(0, count, BATCH):
        broker.enqueue_many([tasks.noop.message(number) for number in range(start, min(start + BATCH, count))])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
