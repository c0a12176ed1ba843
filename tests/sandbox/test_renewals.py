from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise

import pytest
import stripe

from tests.sandbox.sandbox_process import DAY, HOUR, RunningSandbox, running_sandbox
from tests.sandbox.subscribers import (
    DECLINES,
    advance_to,
    day,
    events_since,
    invoices,
    monthly_price,
    period,
    subscribe,
    subscriber,
    use_card,
)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """One with a clock of its own, which runs years ahead."""
    with running_sandbox(tmp_path_factory.mktemp("renewals")) as one:
        yield one


def test_a_renewal_is_a_draft_for_an_hour_and_then_paid(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    made = subscribe(client, customer)
    _, end = period(made)

    advance_to(sandbox, end)
    renewed = client.v1.subscriptions.retrieve(made.id)
    draft = client.v1.invoices.retrieve(str(renewed.latest_invoice))
    sandbox.advance(HOUR)
    paid = client.v1.invoices.retrieve(draft.id)

    assert (renewed.status, period(renewed)[0]) == ("active", end)
    assert (draft.status, draft.billing_reason, draft.created) == (
        "draft",
        "subscription_cycle",
        end,
    )
    assert draft.automatically_finalizes_at == end + HOUR
    assert (paid.status, paid.amount_paid) == ("paid", 59900)
    assert paid.status_transitions.paid_at == end + HOUR
    (line,) = paid.lines.data
    assert (line.period.start, line.period.end) == period(renewed)
    assert len(sandbox.payments(customer=customer.id, status="succeeded")) == 2


def test_a_subscription_begun_on_the_31st_is_billed_on_the_last_day_of_short_months(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    now = datetime.fromtimestamp(sandbox.now(), UTC)
    advance_to(sandbox, int(datetime(now.year + 1, 1, 31, 12, tzinfo=UTC).timestamp()))
    made = subscribe(client, customer)

    sandbox.advance(150 * DAY)

    starts = [day(invoice.lines.data[0].period.start)[5:] for invoice in invoices(client, made)]
    leap = (now.year + 1) % 4 == 0
    assert starts == ["01-31", "02-29" if leap else "02-28", "03-31", "04-30", "05-31", "06-30"]


def test_two_years_in_one_jump_renew_every_month_of_everybody(
    sandbox: RunningSandbox, client: stripe.StripeClient
) -> None:
    price = monthly_price(client).id
    payers, decliner = [subscriber(client) for _ in range(10)], subscriber(client)
    made = {one.id: subscribe(client, one, price=price) for one in (*payers, decliner)}
    use_card(client, decliner, DECLINES)

    sandbox.advance(2 * 366 * DAY)

    for payer in payers:
        every = invoices(client, made[payer.id])
        assert [invoice.status for invoice in every] == ["paid"] * 25
        lines = [invoice.lines.data[0].period for invoice in every]
        assert all(one.end == following.start for one, following in pairwise(lines))
        assert [invoice.created for invoice in every] == [line.start for line in lines]
        assert len(sandbox.payments(customer=payer.id, status="succeeded")) == 25
    assert [one.status for one in invoices(client, made[decliner.id])] == ["paid", "open"]
    assert client.v1.subscriptions.retrieve(made[decliner.id].id).status == "canceled"


@pytest.mark.parametrize("alone", [False, True])
def test_a_jump_ends_where_small_steps_do(
    sandbox: RunningSandbox, client: stripe.StripeClient, alone: bool
) -> None:
    def life(steps: int) -> list[tuple[str, int]]:
        """What was told of a weekly subscriber whose card declines from now on, and when."""
        customer = subscriber(client)
        made = subscribe(client, customer, price=weekly.id)
        use_card(client, customer, DECLINES)
        for _ in range(steps):
            sandbox.advance(30 * DAY // steps, customer.id if alone else None)
        about = {made.id, *(invoice.id for invoice in invoices(client, made))}
        events = events_since(client, made.created)
        return [
            (event.type, event.created - made.created)
            for event in events
            if event.data.object["id"] in about
        ]

    weekly = monthly_price(client, unit_amount=900, recurring={"interval": "week"})
    at_once, in_steps = life(1), life(120)

    assert at_once[0] == ("customer.subscription.deleted", 22 * DAY + HOUR)
    assert at_once == in_steps
