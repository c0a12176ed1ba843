"""What a subscription tells, in order; `docs/sandbox.md` lists it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import stripe

from tests.sandbox.sandbox_process import DAY, HOUR, RunningSandbox, running_sandbox
from tests.sandbox.subscribers import DECLINES, monthly_price, subscribe, subscriber, use_card
from tests.sandbox.test_documentation import rows

TOLD = {what: told.replace("`", "").split(", ") for what, told in rows("What a subscription tells")}
TO_RENEWAL = 31 * DAY + HOUR


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """One in which nothing else happens."""
    with running_sandbox(tmp_path_factory.mktemp("subscription_events")) as one:
        yield one


class Story:
    """A subscriber, and what may happen to them."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self.sandbox, self.client = sandbox, sandbox.client()
        self.customer, self.price = subscriber(self.client), monthly_price(self.client).id
        self.subscription = ""
        self.first_invoice = ""

    def begin(self, behavior: str = "allow_incomplete") -> None:
        made = subscribe(self.client, self.customer, price=self.price, payment_behavior=behavior)
        self.subscription, self.first_invoice = made.id, str(made.latest_invoice)

    def begin_unpaid(self) -> None:
        self.begin("default_incomplete")

    def pay(self) -> None:
        with suppress(stripe.CardError):
            self.client.v1.invoices.pay(self.first_invoice, {"off_session": True})

    def use(self, card: str) -> None:
        use_card(self.client, self.customer, card)

    def wait(self, seconds: int) -> None:
        self.sandbox.advance(seconds, self.customer.id)

    def cancel(self) -> None:
        self.client.v1.subscriptions.cancel(self.subscription)

    def cancel_at_period_end(self) -> None:
        self.client.v1.subscriptions.update(self.subscription, {"cancel_at_period_end": True})

    def begin_then_decline(self, wait: int = 0) -> None:
        self.begin()
        self.use(DECLINES)
        self.wait(wait)

    def begin_unpaid_with(self, card: str) -> None:
        self.use(card)
        self.begin_unpaid()

    def begin_then_cancel_at_period_end(self) -> None:
        self.begin()
        self.cancel_at_period_end()


# What came before, and then what tells it.
STORIES: dict[str, tuple[Callable[[Story], None], Callable[[Story], None]]] = {
    "begun and paid at once": (lambda _: None, Story.begin),
    "begun with `default_incomplete`": (lambda _: None, Story.begin_unpaid),
    "its first invoice paid": (Story.begin_unpaid, Story.pay),
    "its first invoice declined": (lambda one: one.begin_unpaid_with(DECLINES), Story.pay),
    "canceled while incomplete": (Story.begin_unpaid, Story.cancel),
    "not paid for 23 hours": (Story.begin_unpaid, lambda one: one.wait(23 * HOUR)),
    "renewed": (Story.begin, lambda one: one.wait(TO_RENEWAL)),
    "its renewal declined": (Story.begin_then_decline, lambda one: one.wait(TO_RENEWAL)),
    "declined once more": (
        lambda one: one.begin_then_decline(TO_RENEWAL),
        lambda one: one.wait(3 * DAY),
    ),
    "declined for the last time": (
        lambda one: one.begin_then_decline(TO_RENEWAL + 8 * DAY),
        lambda one: one.wait(7 * DAY),
    ),
    "canceled": (Story.begin, Story.cancel),
    "canceled while past due": (lambda one: one.begin_then_decline(TO_RENEWAL), Story.cancel),
    "to be canceled at the period's end": (Story.begin, Story.cancel_at_period_end),
    "canceled at the period's end": (
        Story.begin_then_cancel_at_period_end,
        lambda one: one.wait(TO_RENEWAL),
    ),
}


@pytest.mark.parametrize("what", STORIES)
def test_a_subscription_tells_what_happened_to_it(sandbox: RunningSandbox, what: str) -> None:
    before, then = STORIES[what]
    story = Story(sandbox)
    before(story)
    events = story.client.v1.events
    (last,) = events.list({"limit": 1}).data

    then(story)

    told = events.list({"ending_before": last.id, "limit": 100}).data
    assert [event.type for event in told][::-1] == TOLD[what]


def test_no_other_story_is_listed() -> None:
    assert TOLD.keys() == STORIES.keys()
