"""Celery on Redis with its defaults and no results. Run it to send no-op jobs."""

import os
import sys

from celery import Celery

app = Celery("bench", broker=os.environ["REDIS_URL"])
app.conf.update(task_ignore_result=True, task_default_queue="bench")


@app.task(name="noop")
def noop(number: int) -> None:
    """Do nothing."""


if __name__ == "__main__":
    for sent in range(int(sys.argv[1])):
        noop.delay(sent)
