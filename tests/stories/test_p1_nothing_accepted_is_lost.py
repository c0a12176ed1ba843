"""P1: what was acknowledged is settled, or waits, or stands in quarantine with a reason."""

from __future__ import annotations

from schemas.inbox import EVENT, stream_of
from tests.running import RunningStack, eventually
from tests.stories.customers import deployed_now, numbers, outcomes_in
from worker.customers import create_customer
from worker.storage.quarantine import Quarantined, list_quarantine


def test_a_fix_of_an_unknown_customer_waits_and_is_billed_once_they_are_known(
    stack: RunningStack,
) -> None:
    customer = f"not-yet-{next(numbers)}"
    event, *_ = deployed_now(customer, 1)
    _, receipt = stack.post(event, wait=10)
    assert receipt["status"] == "waiting"

    tools = stack.tools
    create_customer(customer, "trial", tools.engine, tools.clock)

    assert eventually(lambda: outcomes_in(stack, customer) == {event.fix_id: "credited"})


def test_garbage_is_kept_with_its_bytes_and_the_reason(stack: RunningStack) -> None:
    garbage = b"\xff\x00 garbage %d" % next(numbers)

    stack.redis.xadd(stream_of(7), {EVENT: garbage})

    assert eventually(lambda: [each for each in standing(stack) if each.body == garbage])
    (kept,) = [each for each in standing(stack) if each.body == garbage]
    assert (kept.reason, kept.detail) == ("unreadable", "is not UTF-8 text")


def standing(stack: RunningStack) -> list[Quarantined]:
    with stack.engine.begin() as tx:
        return list_quarantine(tx, 100)
