from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from producers.doors import (
    CHUNK,
    Answered,
    BadAddress,
    Undelivered,
    ask_again,
    deliver,
    redis_door,
)
from producers.spool import Spool
from schemas.events import Event
from schemas.receipts import Receipt, receipt
from tests.producers.fixes import fix, some_fixes


class ADoor:
    """A door that gives each event the same answer, and keeps what it was sent."""

    def __init__(self, status: str | None, why: str = "is silent") -> None:
        self.status = status
        self.why = why
        self.sent: list[list[str]] = []

    def __call__(self, events: Sequence[Event]) -> list[Answered]:
        self.sent.append([event.id for event in events])
        return [self.answer(event) for event in events]

    def answer(self, event: Event) -> Answered:
        if self.status is None:
            return Undelivered(event, self.why)
        return receipt(event, self.status, self.why)


class HalfADoor(ADoor):
    """Silent about every second event."""

    def answer(self, event: Event) -> Answered:
        odd = int(event.id.removeprefix("evt-")) % 2
        return Undelivered(event, self.why) if odd else receipt(event, "accepted")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def statuses(answers: Sequence[Answered]) -> list[str]:
    return [each.status if isinstance(each, Receipt) else "undelivered" for each in answers]


def test_the_first_door_that_answers_has_it() -> None:
    first, second = ADoor("accepted"), ADoor("accepted")

    answers = deliver([fix()], [first, second])

    assert statuses(answers) == ["accepted"]
    assert (first.sent, second.sent) == ([["evt-one"]], [])


def test_where_one_door_is_silent_the_next_is_tried() -> None:
    answers = deliver([fix()], [ADoor(None), ADoor("accepted")])

    assert statuses(answers) == ["accepted"]


def test_the_next_door_gets_only_what_the_first_did_not_take() -> None:
    second = ADoor("accepted")

    answers = deliver(some_fixes(4), [HalfADoor(None), second])

    assert statuses(answers) == ["accepted"] * 4
    assert second.sent == [["evt-1", "evt-3"]]


def test_answers_come_in_the_order_of_the_events() -> None:
    events = some_fixes(4)

    answers = deliver(events, [HalfADoor(None), ADoor("settled")])

    assert statuses(answers) == ["accepted", "settled"] * 2
    assert [each.event_id for each in answers if isinstance(each, Receipt)] == [
        event.id for event in events
    ]


def test_a_refusal_goes_to_no_other_door_and_into_no_spool(spool: Spool) -> None:
    second = ADoor("accepted")

    answers = deliver([fix()], [ADoor("refused"), second], spool)

    assert statuses(answers) == ["refused"]
    assert second.sent == []
    assert spool.read().events == []


def test_what_no_door_takes_lies_in_the_spool_and_says_why(spool: Spool) -> None:
    (answer,) = deliver([fix()], [ADoor(None, "A away"), ADoor(None, "B away")], spool)

    assert isinstance(answer, Receipt)
    assert (answer.status, answer.detail) == ("spooled", "A away; B away")
    assert spool.read().events == [fix()]


def test_without_a_spool_it_is_undelivered() -> None:
    (answer,) = deliver([fix()], [ADoor(None)])

    assert answer == Undelivered(fix(), "is silent")


def test_a_spool_that_cannot_be_written_is_no_spool(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    (answer,) = deliver([fix()], [ADoor(None)], Spool(tmp_path / "file"))

    assert isinstance(answer, Undelivered)
    assert answer.why.startswith("is silent; nor could it be kept in ")


def test_thousands_go_in_chunks_and_each_is_counted() -> None:
    door, counted = ADoor("accepted"), list[int]()

    deliver(some_fixes(2 * CHUNK + 1), [door], progress=counted.append)

    assert [len(chunk) for chunk in door.sent] == counted == [CHUNK, CHUNK, 1]


def test_nobody_waits_for_a_silent_door_chunk_after_chunk(spool: Spool) -> None:
    silent, other = ADoor(None), ADoor("accepted")

    answers = deliver(some_fixes(3 * CHUNK), [silent, other], spool)

    assert set(statuses(answers)) == {"accepted"}
    assert (len(silent.sent), len(other.sent)) == (1, 3)


def test_without_any_door_everything_is_spooled(spool: Spool) -> None:
    assert statuses(deliver(some_fixes(2), [], spool)) == ["spooled"] * 2


def test_nothing_asks_no_door() -> None:
    door = ADoor("accepted")

    assert deliver([], [door]) == []
    assert door.sent == []


@pytest.mark.parametrize(
    "url", ["", "localhost:6379", "http://host", "redis://:hunter2@host:port", "redis://h?db=x"]
)
def test_a_redis_address_that_is_none_is_said_without_its_password(url: str) -> None:
    with pytest.raises(BadAddress) as refusal:
        redis_door(url)([fix()])

    assert "hunter2" not in str(refusal.value)


class Asked:
    """What the API says at each time of asking."""

    def __init__(self, *rounds: str | None) -> None:
        self.rounds = list(rounds)
        self.sent: list[list[str]] = []

    def __call__(self, events: Sequence[Event], wait: float) -> list[Answered]:
        assert wait >= 0
        self.sent.append([event.id for event in events])
        status = self.rounds.pop(0) if self.rounds else "accepted"
        return [
            Undelivered(event, "away") if status is None else receipt(event, status)
            for event in events
        ]


def soon() -> float:
    return time.monotonic() + 0.6


def test_the_same_event_is_sent_again_until_it_is_settled() -> None:
    send = Asked("accepted", "settled")

    answers = ask_again([fix()], [receipt(fix(), "accepted")], send, time.monotonic() + 5)

    assert statuses(answers) == ["settled"]
    assert send.sent == [["evt-one"], ["evt-one"]]


def test_what_is_decided_is_not_sent_again() -> None:
    events = some_fixes(3)
    before = ("settled", "accepted", "refused")
    known = [receipt(event, status) for event, status in zip(events, before, strict=True)]
    send = Asked("waiting")

    answers = ask_again(events, known, send, time.monotonic() + 5)

    assert statuses(answers) == ["settled", "waiting", "refused"]
    assert send.sent == [["evt-1"]]


def test_when_the_time_is_up_the_last_promise_stands() -> None:
    begin = time.monotonic()

    send = Asked(None, "refused")
    answers = ask_again([fix()], [receipt(fix(), "accepted")], send, soon())

    assert statuses(answers) == ["accepted"]
    assert 0.5 < time.monotonic() - begin < 2


def test_an_api_that_comes_back_in_time_takes_what_was_spooled_or_undelivered() -> None:
    events = some_fixes(2)
    known: list[Answered] = [receipt(events[0], "spooled"), Undelivered(events[1], "away")]

    answers = ask_again(events, known, Asked(None, "settled"), time.monotonic() + 5)

    assert statuses(answers) == ["settled"] * 2
