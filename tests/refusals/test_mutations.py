"""A valid event is billed once, whatever else comes through the same door before and after it.

Every mutation goes through every door of the running product, with the best credentials there are:
nothing of it is billed, no process ends, and the event itself still is.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import urllib3
from celery import Celery

from producers.publish import publish
from schemas.events import Event
from schemas.inbox import EVENT, partition_of, stream_of
from tests.api.client import TRACK_FIX
from tests.builders import deployed, rows_of
from tests.refusals.mutations import FUTURE, MUTATIONS
from tests.running import RunningStack, eventually
from tests.stories.customers import deployed_now, new_customer, outcomes_in
from worker.storage import tables

TOO_LARGE = "a byte too large"


def post(stack: RunningStack, body: bytes) -> tuple[int, Any]:
    url = f"{stack.env['FIXBILL_API_URL']}{TRACK_FIX}"
    reply = urllib3.request("POST", url, body=body, headers=stack.authorized, timeout=20)
    return reply.status, reply.json()


def over_http(stack: RunningStack, event: Event) -> Counter[str]:
    """One by one; each refusal names its field."""
    wrong, left = {}, Counter[str]()
    for name, each in MUTATIONS.items():
        status, answer = post(stack, each.of(event))
        expected = (413 if name == TOO_LARGE else 422), each.field
        if each.reason == FUTURE:
            expected = 202, None
            left[each.reason] += 1
        if (status, answer.get("field")) != expected:
            wrong[name] = status, answer
    assert wrong == {}
    return left


def in_batches(stack: RunningStack, event: Event) -> Counter[str]:
    """What is no JSON spoils its batch; anything else is refused by itself."""
    wrong, left = {}, Counter[str]()
    for name, each in MUTATIONS.items():
        if name == TOO_LARGE:  # for a batch, it is not
            continue
        status, answer = post(stack, b"[%s]" % each.of(event))
        results = answer.get("results", [])
        refused = status == 207 and [result["status"] for result in results] == ["refused"]
        named = refused and results[0]["detail"].startswith(each.field or "")
        if each.reason == FUTURE:
            left[each.reason] += 1
        elif not named and status != 422:
            wrong[name] = status, answer
    assert wrong == {}
    return left


def into_the_stream(stack: RunningStack, event: Event) -> Counter[str]:
    """As anyone can who reaches the store."""
    with stack.redis.pipeline(transaction=False) as pipeline:
        for each in MUTATIONS.values():
            pipeline.xadd(stream_of(partition_of(event.customer_id)), {EVENT: each.of(event)})
        pipeline.execute()
    return Counter(each.reason for each in MUTATIONS.values())


def through_celery(stack: RunningStack, event: Event) -> Counter[str]:
    """As a text under a signature, and as a value; then what no task can be made of."""
    proof = ["0123456789ab", base64.b64encode(bytes(64)).decode()]
    bodies = [each.of(event) for each in MUTATIONS.values()]
    texts = [body.decode() for body in bodies if is_text(body)]
    values = [value for value in map(value_of, texts) if value not in (..., value_of(event))]
    with Celery("a producer", broker=stack.env["REDIS_URL"]) as producer:
        send_all(producer, [[text, *proof] for text in texts] + [[value] for value in values])
        send_unreadable(producer, event)
    future = sum(each.reason == FUTURE for each in MUTATIONS.values())
    unreadable = len(texts) + len(values) - 2 * future
    return Counter(unreadable=unreadable, future=future, unknown_key=future)


def is_text(body: bytes) -> bool:
    try:
        return bool(body.decode())
    except UnicodeDecodeError:
        return False


def value_of(text: str | Event) -> Any:
    """As a sender's JSON library reads it; `...` if it does not."""
    try:
        return json.loads(text.to_bytes() if isinstance(text, Event) else text)
    except (ValueError, RecursionError):
        return ...


def send_all(producer: Any, arguments: list[list[Any]]) -> None:
    for each in arguments:
        producer.send_task("fixbill.fix_deployed", each, queue="intake")


def send_unreadable(producer: Any, event: Event) -> None:
    """Messages that no task can be made of."""
    valid = value_of(event)
    for arguments, options in (
        ([], {}),
        ([valid] * 4, {}),
        ([valid], {"kwargs": {"price": 1}}),
        ([valid], {"serializer": "pickle"}),
    ):
        producer.send_task("fixbill.fix_deployed", arguments, queue="intake", **options)
    producer.send_task("fixbill.fix_paid", [valid], queue="intake")
    with producer.connection_for_write() as connection:
        connection.Producer().publish(
            b"\xff" + event.to_bytes(),
            exchange="",
            routing_key="intake",
            headers={"task": "fixbill.fix_deployed", "id": "no-text"},
            content_type="application/json",
            content_encoding="utf-8",
        )


class Door(NamedTuple):
    """How it names itself in the tables, and what goes through it."""

    name: str
    mutations: Callable[[RunningStack, Event], Counter[str]]  # what of them ends in quarantine
    original: Callable[[RunningStack, Event], object]


def by_celery(stack: RunningStack, event: Event) -> None:
    with Celery("a producer", broker=stack.env["REDIS_URL"]) as producer:
        send_all(producer, [[value_of(event)]])


DOORS = {
    "HTTP": Door("http", over_http, lambda stack, event: stack.post(event)),
    "HTTP, in a batch": Door("http", in_batches, lambda stack, event: stack.post([event])),
    "Redis": Door(
        "redis", into_the_stream, lambda stack, event: publish([event], redis=stack.redis)
    ),
    "Celery": Door("celery", through_celery, by_celery),
}


def aside(stack: RunningStack, door: Door) -> Counter[str]:
    rows = rows_of(stack.engine, tables.quarantine, door=door.name)
    return Counter(row["reason"] for row in rows)


def transfers(stack: RunningStack) -> int:
    return len(rows_of(stack.engine, tables.transfers, kind="consume"))


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_of_a_valid_event_and_all_its_mutations_the_valid_one_is_billed_once(
    stack: RunningStack, door: Door
) -> None:
    customer = new_customer(stack, "trial")
    (event,) = deployed_now(customer, 1)
    pids, before, billed = stack.pids(), aside(stack, door), transfers(stack)

    expected = door.mutations(stack, event)
    assert eventually(lambda: aside(stack, door) - before == expected), aside(stack, door) - before
    nothing = transfers(stack) - billed, outcomes_in(stack, customer)
    for _ in range(3):
        door.original(stack, event)
    assert eventually(lambda: outcomes_in(stack, customer))
    door.mutations(stack, event)
    # What was billed and differs in its time alone is the same event again.
    again = Counter({reason: number for reason, number in expected.items() if reason != FUTURE})
    assert eventually(lambda: aside(stack, door) - before == expected + again)

    assert nothing == (0, {})
    assert outcomes_in(stack, customer) == {event.fix_id: "credited"}
    assert transfers(stack) - billed == 1
    assert stack.pids() == pids


def test_there_are_enough_of_them() -> None:
    event = deployed()

    bodies = {each.of(event) for each in MUTATIONS.values()}

    assert len(bodies) == len(MUTATIONS) >= 40
    assert event.to_bytes() not in bodies
