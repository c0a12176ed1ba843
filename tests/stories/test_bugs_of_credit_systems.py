"""What other systems did to their customers' credits, as stories that end well here."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from schemas.plans import DEFAULT_FILE, install_plans
from tests.billing.lives import TERMS
from tests.billing.model import Model
from tests.billing.steps import (
    Beat,
    Card,
    Deploy,
    End,
    Give,
    Revert,
    Step,
    Subscribe,
    Wait,
    WaitFor,
)
from tests.billing.two_years import Life
from tests.billing.two_years_checks import check_credits
from tests.builders import DAY, HOUR, deployed, give_credits, settle_events
from tests.sandbox.sandbox_process import RunningSandbox, running_sandbox
from tests.stories.on_postgres import At, begin, time_at_stripe
from worker.billing.cycles import CycleStatus
from worker.billing.ledger import Transfer
from worker.customers import grant_credits
from worker.statement import write_statements
from worker.storage.statements import CycleKey, read_statement
from worker.stripe_gateway import StripeGateway
from worker.usage.current import current_usage
from worker.usage.verify import verify

NO_TIME, SECOND = timedelta(0), timedelta(seconds=1)
NEXT_CYCLE = WaitFor("cycle end", HOUR + SECOND)  # renewed, paid, and the cycle before is closed


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """One with a clock of its own, which runs months ahead."""
    with running_sandbox(tmp_path_factory.mktemp("credits")) as one:
        yield one


@pytest.fixture
def acme(engine: Engine, sandbox: RunningSandbox) -> Life:
    """On trial, with a card and so with 10 credits on their way."""
    start = time_at_stripe(sandbox)
    return Life(begin(engine, sandbox, start), Model(TERMS, "trial", start), start)


def happens(life: Life, *steps: Step) -> None:
    """One after the other; no credit may appear or vanish at any of them."""
    for step in steps:
        step.take(life)
        check_credits(life.books.memory)


def left(life: Life) -> dict[str, int]:
    """Credits by where they came from."""
    found: dict[str, int] = {}
    for grant in life.books.memory.grants.values():
        found[grant.source] = found.get(grant.source, 0) + grant.remaining
    return {source: number for source, number in found.items() if number}


def test_bought_credits_outlast_every_renewal(acme: Life, engine: Engine) -> None:
    """polar#10513: bought credits that had rolled over once were gone at the next renewal."""
    happens(acme, Card(True), Subscribe(HOUR))
    give_credits(engine, credits=50, key="bought", source="top_up", now=acme.now)

    balances = []
    for _ in range(3):
        happens(acme, NEXT_CYCLE, Beat())
        balances.append(left(acme))

    trial = {"signup": 5, "billing_added": 5}
    assert balances[:2] == [trial | {"rolled": 10, "included": 10, "top_up": 50}] * 2
    assert left(acme)["top_up"] == 50


def test_a_subscription_adds_to_the_credits_that_were_there(acme: Life) -> None:
    """polar#8451: buying a subscription wiped earlier credits."""
    happens(acme, Card(True), Give(7, None), Deploy(NO_TIME, 2))

    happens(acme, Subscribe(HOUR))

    assert left(acme) == {"billing_added": 3, "signup": 5, "operator": 7, "included": 10}


@pytest.fixture
def plans_file(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "plans.toml"
    install_plans(DEFAULT_FILE)


def test_a_new_catalogue_takes_no_credit_away(acme: Life, plans_file: Path) -> None:
    """polar#11427: editing the benefits of a plan set its customers' balances to zero."""
    happens(acme, Card(True), Give(7, None), Subscribe(HOUR))
    before = left(acme)
    text = DEFAULT_FILE.read_text()
    tomorrow = (acme.now + DAY).date()
    later = text[text.index("[[pro.versions]]") :].replace(
        "effective = 2026-01-01", f"effective = {tomorrow}"
    )
    plans_file.write_text(
        f"{text}\n{later.replace('included_credits = 10', 'included_credits = 3')}"
    )

    install_plans(plans_file)

    assert left(acme) == before
    happens(acme, NEXT_CYCLE, Beat())
    assert left(acme) == before | {"rolled": 10, "included": 3}


def test_who_leaves_and_comes_back_never_has_less_than_nothing(acme: Life) -> None:
    """polar#9410: the old grant was revoked after the new one was given: 100 credits below 0."""
    happens(acme, Card(True), Subscribe(HOUR), Deploy(NO_TIME, 14))

    happens(acme, Wait(HOUR), End("now"), Wait(HOUR), Subscribe(HOUR), Wait(HOUR), Beat())

    assert left(acme) == {"included": 6 + 10}
    moved = sorted(acme.books.memory.transfers)
    assert all(credits_of(moved[:number]) >= 0 for number in range(len(moved)))


def test_the_balance_is_the_same_wherever_one_begins_to_add_up(acme: Life, engine: Engine) -> None:
    """polar#5648: a balance depended on the event its calculation started from."""
    happens(acme, Card(True), Subscribe(HOUR))
    for fixes in (3, 12, 1):
        happens(acme, Wait(DAY), Deploy(NO_TIME, fixes), NEXT_CYCLE, Revert(0), Beat())

    memory = acme.books.memory
    closed = sorted(key for key, row in memory.cycles.items() if row.status is CycleStatus.CLOSED)
    assert write_statements(engine, At(moment=acme.now)) == len(closed) == 4
    for key in closed:
        with engine.begin() as tx:
            statement = read_statement(tx, CycleKey(*key))
        assert statement is not None
        since = [each for each in memory.transfers if each.cycle > key[1]]
        assert statement.balances["credits"] + credits_of(since) == sum(left(acme).values())


def credits_of(transfers: list[Transfer]) -> int:
    """What they add to the balance of credits."""
    came = sum(each.amount for each in transfers if each.to_account == "credits")
    return came - sum(each.amount for each in transfers if each.from_account == "credits")


def test_credits_roll_over_at_the_boundary_and_count_as_given_there(
    acme: Life, engine: Engine
) -> None:
    """autumn#1822: they expired before the cycle ended, and totals left out what rolled over."""
    happens(acme, Card(True), Subscribe(HOUR), Deploy(NO_TIME, 13))
    assert left(acme) == {"included": 7}

    happens(acme, WaitFor("cycle end", -SECOND), Beat(), Deploy())
    assert left(acme) == {"included": 6}

    happens(acme, WaitFor("cycle end", NO_TIME), Beat())
    assert left(acme) == {"rolled": 6}
    with engine.begin() as tx:
        usage = current_usage(tx, "acme", acme.now, None)
    assert usage is not None
    (rolled,) = usage.credits.grants
    assert (usage.credits.balance, rolled.source, rolled.granted) == (6, "rolled", 6)


def test_credits_given_once_survive_whatever_runs_at_the_same_moment(
    acme: Life, engine: Engine, stripe: StripeGateway
) -> None:
    """autumn#630: credits given once were lost where two changes of a balance met."""
    happens(acme, Card(True), Subscribe(HOUR), WaitFor("cycle end", HOUR + SECOND))
    now, before = acme.wall, sum(left(acme).values())

    with ThreadPoolExecutor(8) as threads:
        given = [
            threads.submit(
                grant_credits, "acme", 1, f"gift-{number % 8}", None, engine, At(moment=now)
            )
            for number in range(16)
        ]
        swept = [threads.submit(acme.books.sweep, now, now) for _ in range(4)]
        fixes = [threads.submit(settle_one, engine, number, acme) for number in range(4)]
        for each in swept + fixes:
            each.result()

    assert sum(each.result() for each in given) == 8
    assert sum(left(acme).values()) == before + 8 - 4
    check_credits(acme.books.memory)
    assert [each for check in verify(engine, stripe) for each in check.offenders] == []


def settle_one(engine: Engine, number: int, life: Life) -> None:
    settle_events(engine, deployed(f"fix-{number}", at=life.now), now=life.now)
