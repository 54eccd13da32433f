"""What documents add to the overview: webhooks that wait or were given up, and whether the store answers."""

import threading

import pytest

from documents.overview import Watch, storage, webhook_figures
from queueadmin.inspection import BrokerHealth, Overview


def overview(**actors: dict[str, int]) -> Overview:
    return Overview(broker=BrokerHealth(up=True), queues=(), workers=(), actors=actors)


def test_webhooks_that_wait_for_whatever_reason_are_one_figure() -> None:
    counts = {"pending": 3, "retrying": 2, "scheduled": 1, "processing": 9, "dead_letter": 4}
    waiting, given_up = webhook_figures(
        overview(deliver_webhook=counts, deliver_batch_webhook={"pending": 1}, ingest_document={"pending": 100})
    )
    assert (waiting.value, waiting.is_bad) == (7, False)
    assert (given_up.value, given_up.is_bad) == (4, True)
    assert "actor%3Adeliver_webhook" in waiting.url
    assert [figure.value for figure in webhook_figures(overview())] == [0, 0]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_store_that_hangs_does_not_hang_who_asks() -> None:
    # Given a store that answers nothing
    may_answer, asked = threading.Event(), []

    def ask() -> str:
        asked.append(1)
        may_answer.wait(30)
        return ""

    watch = Watch(ask, patience=0.05)
    # When it is asked again and again, Then it is said to be away, and only one question is on its way
    assert watch.problem() == "It does not answer."
    assert watch.problem() == "It does not answer."
    assert len(asked) == 1
    # When it answers after all, Then that counts
    may_answer.set()
    watch._asking.join(10)  # type: ignore[union-attr]  # it was asked above
    assert watch.problem() == ""


def test_an_answer_is_good_for_a_while_and_then_asked_for_again() -> None:
    clock, answers = Clock(), iter(["", "It is full.", "unused"])
    watch = Watch(lambda: next(answers), fresh=10, patience=5, clock=clock)
    assert watch.problem() == ""
    clock.now = 9
    assert watch.problem() == ""
    clock.now = 11
    assert watch.problem() == "It is full."


@pytest.mark.django_db
def test_the_directory_of_the_tests_is_up() -> None:
    part = storage()
    assert (part.is_up, part.detail) == (True, "directory")
