"""`fixbill clock`: let business time pass, beside the sandbox."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

from worker import telemetry
from worker.cli.show import print_json, print_pairs
from worker.cli.usage import usage_of
from worker.customers import CustomerProblem
from worker.process import open_tools
from worker.settings import settings
from worker.stripe_calls import StripeRefused
from worker.time_travel import ClockProblem, advance, business_time

EXPECTED = (ClockProblem, CustomerProblem, StripeRefused)

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
FORWARD_MAX = timedelta(days=3660)


class Duration(click.ParamType[timedelta]):
    """Such as 40d, 36h or 1d12h."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        parts = re.findall(r"(\d{1,9})([smhdw])", str(value))
        if not parts or "".join(map("".join, parts)) != value:
            self.fail(f"{value!r} is no length of time such as 40d, 36h or 1d12h", param, ctx)
        seconds = sum(int(count) * SECONDS[unit] for count, unit in parts)
        if not 0 < seconds <= FORWARD_MAX.total_seconds():
            self.fail("time passes forward, by a second to ten years", param, ctx)
        return timedelta(seconds=seconds)


customer = click.option("--customer", "customer_id", help="This customer's clock alone.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")


@click.group()
def command() -> None:
    """Show the business clock, or let time pass for the stack or for one customer.

    Cycles, expiry, dunning and the Stripe sandbox move together. Refused beside Stripe itself.
    """


@command.command()
@customer
@as_json
def show(customer_id: str | None, as_json: bool) -> None:
    """What time it is."""
    print_clock(customer_id, None, as_json)


@command.command("advance")
@click.argument("by", type=Duration())
@customer
@as_json
def advance_clock(by: timedelta, customer_id: str | None, as_json: bool) -> None:
    """Let BY pass (40d, 36h, 1d12h), with all that falls due on the way."""
    tools, sandbox = open_tools(), settings().stripe_api_base
    if sandbox is None or tools.stripe.livemode:
        raise ClockProblem("time cannot be moved beside Stripe itself, only beside the sandbox")
    if customer_id is not None:
        usage_of(customer_id)
    telemetry.write_logs("WARNING")  # years of routine would hide the answer
    print_clock(customer_id, advance(by, tools, sandbox, customer_id), as_json)


def print_clock(customer_id: str | None, stops: int | None, as_json: bool) -> None:
    tools = open_tools()
    answer: dict[str, object] = {"wall": datetime.now(UTC)}
    answer["business"] = business_time(tools, customer_id)
    if customer_id is not None:
        answer["customer_id"] = customer_id
    if stops is not None:
        answer["stops"] = stops
    if as_json:
        print_json(answer)
    else:
        print_pairs(answer.items())
