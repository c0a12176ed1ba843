"""`fixbill customers`: who they are, what they may use, how they pay."""

from __future__ import annotations

import click

from schemas.plans import BadPlans
from worker import customers as lives
from worker import subscribe
from worker.billing.orders import Order, OrderStatus, PlanProblem
from worker.billing.plan_changes import BILLING_ADDED
from worker.cli.show import amount_in, as_text, print_json
from worker.cli.usage import print_usage, usage_of
from worker.erase import NotErasable, check_erasable, erase_customer
from worker.leave import cancel_customer
from worker.process import open_tools
from worker.setup import held_cost, in_words
from worker.storage.grants import has_grant
from worker.stripe_calls import StripeRefused

EXPECTED = (lives.CustomerProblem, NotErasable, PlanProblem, StripeRefused, BadPlans)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")


@click.group()
def command() -> None:
    """Create customers, show them, and change their plan or payment method."""


@command.command()
@click.argument("customer_id")
@click.option("--plan", default="trial", show_default=True, help="trial, payg or pro")
@click.option("--name")
@click.option("--email")
@as_json
def add(customer_id: str, plan: str, name: str | None, email: str | None, as_json: bool) -> None:
    """Create a customer; a trial gets its sign-up credits."""
    tools = open_tools()
    lives.create_customer(
        customer_id,
        plan,
        tools.engine,
        tools.clock,
        name=name,
        email=email,
        livemode=tools.stripe.livemode,
    )
    show_customer(customer_id, as_json)


@command.command()
@click.argument("customer_id")
@as_json
def show(customer_id: str, as_json: bool) -> None:
    """Plan, credits, money and warnings of a customer."""
    show_customer(customer_id, as_json)


@command.command("set-plan")
@click.argument("customer_id")
@click.argument("plan")
@click.option(
    "--now", is_flag=True, help="End a subscription at once, not at the end of its period."
)
@as_json
def set_plan(customer_id: str, plan: str, now: bool, as_json: bool) -> int:
    """Move a customer to PLAN.

    To pro: a subscription is begun at Stripe and its first month is charged to the card; fixes
    settle under it from then on. Away from it: at the end of the period that is paid.
    """
    tools = open_tools()
    order = subscribe.set_plan(
        customer_id, plan, tools.engine, tools.stripe, tools.clock, at_once=now
    )
    if order is not None and order.status is not OrderStatus.DONE:
        raise click.ClickException(not_done(order))
    show_customer(customer_id, as_json)
    return 0


def not_done(order: Order) -> str:
    if order.status is OrderStatus.REFUSED:
        return f"{order.customer_id} stays as it was: {order.message}"
    return f"Stripe gave no clear answer; it is asked again, see {order.order_id}"


@command.command("add-payment-method")
@click.argument("customer_id")
@click.argument("payment_method")
@as_json
def add_payment_method(customer_id: str, payment_method: str, as_json: bool) -> None:
    """Attach a Stripe payment method (pm_…) and make it the default.

    The first one brings a trial 5 more credits and moves it to pay as you go. In the sandbox,
    pm_card_visa is a card that pays.
    """
    tools = open_tools()
    if not as_json:
        with tools.engine.begin() as tx:
            bonus_given = has_grant(tx, customer_id, BILLING_ADDED)
        held = held_cost(usage_of(customer_id), tools.clock.now(), bonus_given)
        click.echo(in_words(held))
    lives.add_payment_method(customer_id, payment_method, tools.engine, tools.stripe, tools.clock)
    show_customer(customer_id, as_json)


@command.command("accept-held")
@click.argument("customer_id")
@as_json
def accept_held(customer_id: str, as_json: bool) -> None:
    """Let the fixes held so far become money, at the price of the customer's plan."""
    tools = open_tools()
    left = lives.accept_held(customer_id, tools.engine, tools.clock)
    if as_json:
        print_json({"customer_id": customer_id, "held": left})
    else:
        fixes = f"fix of {customer_id} is" if left == 1 else f"fixes of {customer_id} are"
        click.echo(f"{left} {fixes} still held")


@command.command("set-cap")
@click.argument("customer_id")
@click.argument("cap")
@as_json
def set_cap(customer_id: str, cap: str, as_json: bool) -> None:
    """The most that fixes may cost in a cycle: an amount such as 100.00, or `none`.

    What would cost more is held. Within the cap, held fixes become money by themselves.
    """
    tools = open_tools()
    usage = usage_of(customer_id)
    amount = None if cap == "none" else amount_in(cap, usage.limits.spent.currency)
    if not as_json:
        held = held_cost(usage, tools.clock.now(), bonus_given=True)  # a cap brings no credits
        click.echo(in_words(held.model_copy(update={"spending_cap": amount})))
    lives.set_spending_cap(customer_id, amount, tools.engine, tools.clock)
    show_customer(customer_id, as_json)


@command.command()
@click.argument("customer_id")
@as_json
def cancel(customer_id: str, as_json: bool) -> None:
    """The customer leaves: no card is charged from now on. What is owed stays on the books."""
    tools = open_tools()
    cancel_customer(customer_id, tools.engine, tools.stripe, tools.clock)
    show_customer(customer_id, as_json)


@command.command()
@click.argument("customer_id")
@as_json
def release(customer_id: str, as_json: bool) -> int:
    """Collect again from a customer whom the circuit breaker, or a cancellation, has parked."""
    tools = open_tools()
    was_parked = lives.release_customer(customer_id, tools.engine, tools.clock)
    if as_json:
        print_json({"customer_id": customer_id, "released": was_parked})
    else:
        click.echo(f"{customer_id} was {'released' if was_parked else 'not parked'}")
    return 0 if was_parked else 1


@command.command()
@click.argument("customer_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
def erase(customer_id: str, yes: bool, as_json: bool) -> None:
    """Forget who a customer who has left was: name, email, words, and the customer at Stripe.

    Amounts and ids stay, and so does every proof; docs/erasure.md says of each column why.
    """
    tools = open_tools()
    check_erasable(customer_id, tools.engine)
    if not yes:
        question = f"Erase {customer_id}, here and at Stripe? It cannot be undone."
        click.confirm(question, abort=True, err=True)
    erased_at = erase_customer(customer_id, tools.engine, tools.stripe, tools.clock)
    if as_json:
        print_json({"customer_id": customer_id, "erased_at": erased_at})
    else:
        click.echo(f"{customer_id} was erased on {as_text(erased_at)}")


def show_customer(customer_id: str, as_json: bool) -> None:
    answer = usage_of(customer_id)
    if as_json:
        print_json(answer)
    else:
        print_usage(answer)
