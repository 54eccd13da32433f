"""Procrastinate on PostgreSQL with its defaults. Run it to defer no-op jobs."""

import os
import sys

from procrastinate import App, PsycopgConnector

app = App(connector=PsycopgConnector(conninfo=os.environ["DATABASE_URL"]))
BATCH = 500


@app.task(queue="bench", name="noop")
def noop(number: int) -> None:
    """Do nothing."""


def main(count: int) -> None:
    with app.open():
        for start in range(0, count, BATCH):
            noop.batch_defer(*({"number": number} for number in range(start, min(start + BATCH, count))))


if __name__ == "__main__":
    main(int(sys.argv[1]))
