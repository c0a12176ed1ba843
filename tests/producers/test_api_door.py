from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from producers.api_door import ANSWER_BYTES_MAX, PATH, ApiDoor
from producers.doors import CHUNK, Answered, BadAddress, Undelivered
from schemas.money import Money
from schemas.receipts import Receipt
from tests.producers.fixes import fix, largest_fix, some_fixes
from tests.producers.scripted_api import (
    PROBLEM,
    Answering,
    Reply,
    ScriptedApi,
    accept,
    problem,
    settle,
)

KEY = "fbk_secret"


@pytest.fixture
def door(api: ScriptedApi) -> Iterator[ApiDoor]:
    with closing(ApiDoor(api.url, KEY, read_seconds=0.3)) as one:
        yield one


@contextmanager
def closing(door: ApiDoor) -> Iterator[ApiDoor]:
    yield door
    door.pool.clear()


def statuses(answers: list[Answered]) -> list[str]:
    return [each.status if isinstance(each, Receipt) else "undelivered" for each in answers]


def test_one_event_is_sent_as_it_is_and_accepted(api: ScriptedApi, door: ApiDoor) -> None:
    answers = door.send([fix()])

    assert statuses(answers) == ["accepted"]
    (asked,) = api.asked
    assert asked.path == PATH
    assert asked.body == fix().to_bytes()
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert asked.headers["Content-Type"] == "application/cloudevents+json"
    assert asked.headers["Prefer"] is None


def test_many_events_are_one_array_and_answered_in_order(api: ScriptedApi, door: ApiDoor) -> None:
    events = some_fixes(3)

    answers = door.send(events)

    assert [each.event_id for each in answers if isinstance(each, Receipt)] == [
        each.id for each in events
    ]
    (asked,) = api.asked
    assert [each["id"] for each in asked.document] == [each.id for each in events]
    assert asked.headers["Content-Type"] == "application/cloudevents-batch+json"


def test_who_waits_gets_the_outcome_and_its_price(api: ScriptedApi, door: ApiDoor) -> None:
    price = {"amount": 2900, "currency": "usd"}
    api.script = [lambda asked: settle(asked, "charged", price=price)]

    (answer,) = door.send([fix()], wait=4.2)

    assert isinstance(answer, Receipt)
    assert (answer.status, answer.outcome) == ("settled", "charged")
    assert answer.price == Money(2900, "usd")
    assert api.asked[0].headers["Prefer"] == "wait=5"


def test_the_wait_comes_on_top_of_the_time_out(api: ScriptedApi, door: ApiDoor) -> None:
    api.script = [lambda asked: Reply(202, accept(asked).body, delay=0.5)]

    assert statuses(door.send([fix()], wait=1)) == ["accepted"]


def test_an_hour_is_not_asked_of_one_request(api: ScriptedApi, door: ApiDoor) -> None:
    door.send([fix()], wait=3600)

    assert api.asked[0].headers["Prefer"] == "wait=25"


@pytest.mark.parametrize("status", [400, 401, 403, 409, 413, 422])
def test_a_problem_of_the_api_is_a_refusal_with_its_sentence(
    api: ScriptedApi, door: ApiDoor, status: int
) -> None:
    api.script = [problem(status, "must be RFC 3339", field="time")]

    (answer,) = door.send([fix()])

    assert isinstance(answer, Receipt)
    assert (answer.status, answer.event_id) == ("refused", "evt-one")
    assert answer.detail == "time: must be RFC 3339"


def test_a_refused_batch_is_a_refusal_of_each(api: ScriptedApi, door: ApiDoor) -> None:
    api.script = [problem(401, "Send a valid API key.")]

    assert statuses(door.send(some_fixes(3))) == ["refused"] * 3


def test_a_batch_may_be_taken_in_part(api: ScriptedApi, door: ApiDoor) -> None:
    def half(asked: object) -> Reply:
        results = accept(api.asked[-1]).body
        assert isinstance(results, dict)
        results["results"][1] |= {"status": "refused", "detail": "not bound to this customer"}
        return Reply(207, results)

    api.script = [half]

    answers = door.send(some_fixes(3))

    assert statuses(answers) == ["accepted", "refused", "accepted"]


NOT_NOW: dict[str, Reply | Answering] = {
    "503": problem(503, "Send the same again."),
    "500": problem(500, "Something failed on our side."),
    "429": problem(429, "Too many."),
    "408": problem(408, "Too slow."),
    "a proxy's page": Reply(502, b"<html>Bad Gateway</html>", "text/html"),
    "another server": Reply(404, b"<html>no such page</html>", "text/html"),
    "another server's 403": Reply(403, b"Forbidden", "text/plain"),
    "a redirect": Reply(307, b"", headers={"Location": "http://127.0.0.1:1/"}),
    "a login page": Reply(200, b"<html>Log in</html>", "text/html"),
    "an empty 202": Reply(202, b""),
    "half a reply": Reply(202, {"event_id": "evt-one"}, cut=True),
    "a broken problem": Reply(503, b"{", PROBLEM),
    "a status nobody knows": lambda asked: accept(asked, "frobnicated"),
    "silence": Reply(202, b"{}", delay=0.6),
}


@pytest.mark.parametrize("case", NOT_NOW)
def test_what_is_no_answer_of_fixbill_is_undelivered_and_sent_once(
    api: ScriptedApi, door: ApiDoor, case: str
) -> None:
    api.script = [NOT_NOW[case]]

    (answer,) = door.send([fix()])

    assert isinstance(answer, Undelivered)
    assert answer.event == fix()
    assert api.url in answer.why
    assert KEY not in answer.why
    assert len(api.asked) == 1


def again_in(seconds: str) -> Reply:
    return replace(problem(429, "Too often."), headers={"Retry-After": seconds})


def test_an_api_that_says_when_to_come_again_is_asked_again_then(
    api: ScriptedApi, door: ApiDoor
) -> None:
    api.script = [again_in("1"), again_in("0")]

    assert statuses(door.send(some_fixes(2))) == ["accepted"] * 2
    assert len({asked.body for asked in api.asked}) == 1
    assert len(api.asked) == 3


@pytest.mark.parametrize("when", ["3600", "-1", "Mon, 23 Nov 2026 05:00:00 GMT", "soon"])
def test_one_that_says_much_later_or_what_is_no_number_is_not_waited_for(
    api: ScriptedApi, door: ApiDoor, when: str
) -> None:
    api.script = [again_in(when)]

    assert statuses(door.send([fix()])) == ["undelivered"]
    assert len(api.asked) == 1


def test_receipts_of_other_events_are_not_taken_for_ours(api: ScriptedApi, door: ApiDoor) -> None:
    other = {"event_id": "evt-other", "customer_id": "acme", "fix_id": "x", "status": "accepted"}
    api.script = [
        Reply(202, other),
        Reply(207, {"results": [other, other]}),
        Reply(207, {"results": []}),
    ]

    for _ in range(3):
        assert set(statuses(door.send(some_fixes(2)))) == {"undelivered"}


def test_a_newer_api_may_say_more(api: ScriptedApi, door: ApiDoor) -> None:
    api.script = [lambda asked: accept(asked, tomorrow="something new")]

    assert statuses(door.send([fix()])) == ["accepted"]


def test_an_endless_answer_is_not_read(api: ScriptedApi, door: ApiDoor) -> None:
    api.script = [Reply(202, b" " * (ANSWER_BYTES_MAX + 1000))]

    assert statuses(door.send([fix()])) == ["undelivered"]


def test_a_connection_serves_one_request_after_the_other(api: ScriptedApi, door: ApiDoor) -> None:
    for number in range(3):
        assert statuses(door.send([fix(str(number))])) == ["accepted"]

    assert door.pool.connection_from_url(api.url).num_connections == 1


def test_nobody_at_the_address_is_undelivered() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with closing(ApiDoor(f"http://127.0.0.1:{taken.getsockname()[1]}", KEY)) as door:
            (answer,) = door.send([fix()])

    assert isinstance(answer, Undelivered)
    assert "cannot be reached" in answer.why


def test_a_name_nobody_has_is_undelivered() -> None:
    with closing(ApiDoor("http://nobody.invalid", KEY)) as door:
        (answer,) = door.send([fix()])

    assert isinstance(answer, Undelivered)


def test_the_address_may_have_a_path(api: ScriptedApi) -> None:
    with closing(ApiDoor(f"{api.url}/fixbill/", KEY)) as door:
        door.send([fix()])

    assert api.asked[0].path == f"/fixbill{PATH}"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "billing.example.com",
        "ftp://billing.example.com",
        "https://",
        "https://user:password@billing.example.com",
        "https://billing.example.com:port",
        "https://billing.example.com/?key=1",
        "redis://127.0.0.1",
    ],
)
def test_an_address_that_is_none_is_said_without_quoting_it(url: str) -> None:
    with pytest.raises(BadAddress) as refusal:
        ApiDoor(url, KEY)

    assert "FIXBILL_API_URL" in str(refusal.value)
    assert "password" not in str(refusal.value)


def test_the_key_shows_nowhere(door: ApiDoor) -> None:
    assert KEY not in repr(door)


def test_the_largest_chunk_fits_into_what_proxies_and_the_api_take() -> None:
    assert CHUNK * (len(largest_fix().to_bytes()) + 1) < 1024 * 1024
