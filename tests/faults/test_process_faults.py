"""Processes die and queues are lost under the running product: nothing else is."""

from __future__ import annotations

import random
import re
import signal
from pathlib import Path

import urllib3

from producers.publish import publish
from tests.running import RunningStack, eventually, is_alive, running_stack, started
from tests.stories.customers import (
    all_paid,
    all_settled,
    deployed_now,
    fixes_in,
    new_customer,
    outcomes_in,
    statuses,
)
from worker import inbox
from worker.local.valkey import Valkey

SETTLED = re.compile(r'^fixbill_events_settled_total\{.*outcome="held".*\} ([0-9.]+)$', re.M)


def test_a_worker_killed_at_five_random_moments_settles_each_of_2000_fixes_once(
    tmp_path: Path,
) -> None:
    seed = random.randrange(10**6)
    moments = sorted(random.Random(seed).sample(range(50, 1950), 5))
    with running_stack(tmp_path) as stack:
        customers = [new_customer(stack, plan) for plan in ("trial", "payg", "trial", "payg")]
        events = [each for customer in customers for each in deployed_now(customer, 500)]
        random.Random(seed).shuffle(events)

        at = 0
        for moment in [*moments, len(events)]:
            publish(events[at:moment], redis=stack.redis)
            at = moment
            if moment < len(events):
                kill(stack, "worker")

        for customer in customers:
            assert all_settled(stack, customer, 500, within=120), f"seed {seed}"
            assert len(outcomes_in(stack, customer)) == 500
        assert stack.broken() == [], f"seed {seed}"


def kill(stack: RunningStack, name: str) -> None:
    """As soon as there is one to kill; another has been started when this returns."""
    pid = stack.pids()[name]
    assert eventually(lambda: is_alive(stack.pids()[name]))
    stack.kill(name)
    assert eventually(lambda: stack.pids()[name] != pid)


def test_flushing_the_celery_store_delays_work_and_loses_none(tmp_path: Path) -> None:
    with (
        Valkey.start(tmp_path / "broker") as broker,
        running_stack(tmp_path / "stack", CELERY_BROKER_URL=broker.url) as stack,
    ):
        customer = new_customer(stack, "payg", "pm_card_visa")
        store = inbox.connect(broker.url)

        for number in range(5):
            stack.post(deployed_now(customer, 10, first=10 * number))
            store.flushall()
        store.close()

        assert all_settled(stack, customer, 50)
        assert all_paid(stack, customer, within=60)
        assert stack.broken() == []


def test_counters_are_exact_over_a_restart_of_the_worker(tmp_path: Path) -> None:
    with running_stack(tmp_path) as stack:
        customer = new_customer(stack, "payg")
        publish(deployed_now(customer, 300), redis=stack.redis)
        assert eventually(lambda: settled_count(stack) == 300)

        kill(stack, "worker")
        assert eventually(lambda: answers(stack))
        publish(deployed_now(customer, 200, first=1000), redis=stack.redis)

        assert eventually(lambda: settled_count(stack) == 200)
        assert len(fixes_in(stack, customer)) == 500


def settled_count(stack: RunningStack) -> int:
    found = SETTLED.search(stack.metrics())
    return int(float(found[1])) if found else 0


def answers(stack: RunningStack) -> bool:
    try:
        return "fixbill" in stack.metrics()
    except urllib3.exceptions.HTTPError:
        return False


def test_valkey_and_postgres_killed_under_the_running_product_come_back(tmp_path: Path) -> None:
    with running_stack(tmp_path) as stack:
        customer = new_customer(stack, "payg", "pm_card_visa")
        stack.post(deployed_now(customer, 20))

        for server in ("valkey", "postgres"):
            kill(stack, server)
            assert eventually(lambda: stack.get("/readyz")["ready"])
        stack.post(deployed_now(customer, 20, first=100), wait=20)

        assert all_settled(stack, customer, 40)
        assert eventually(lambda: set(statuses(stack, customer)) == {"paid"}, 60)
        assert stack.broken() == []


def test_a_supervisor_killed_in_the_middle_leaves_its_state_to_the_next(tmp_path: Path) -> None:
    with started(tmp_path) as supervisor:
        first = RunningStack(tmp_path, supervisor)
        customer = new_customer(first, "trial")
        first.post(deployed_now(customer, 3), wait=10)
        pids = first.pids()
        first.close()
        supervisor.send_signal(signal.SIGKILL)

    assert eventually(lambda: not any(map(is_alive, pids.values())))
    with running_stack(tmp_path) as second:
        assert second.post(deployed_now(customer, 3), wait=10)[0] == 207
        assert set(outcomes_in(second, customer).values()) == {"credited"}
        assert len(outcomes_in(second, customer)) == 3
        assert second.broken() == []


def test_two_stacks_run_side_by_side(stack: RunningStack, tmp_path: Path) -> None:
    with running_stack(tmp_path) as other:
        mine, theirs = new_customer(stack), new_customer(other)

        stack.post(deployed_now(mine, 1), wait=10)
        other.post(deployed_now(theirs, 1), wait=10)

        assert len(fixes_in(stack, mine)) == len(fixes_in(other, theirs)) == 1
        assert fixes_in(stack, theirs) == fixes_in(other, mine) == []
