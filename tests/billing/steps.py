"""What can happen to a customer, step by step, and random histories of it."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol

from hypothesis import strategies as st

from tests.billing.model import DAY, HOUR, first_of_next_month
from tests.billing.two_years import Life
from tests.builders import MINUTE, NOW, deployed, reverted

SECOND = timedelta(seconds=1)
END = NOW + 731 * DAY  # behind 29 February 2028


class Step(Protocol):
    """One thing that happens."""

    def take(self, life: Life) -> None: ...


class Wait(NamedTuple):
    """So long."""

    span: timedelta

    def take(self, life: Life) -> None:
        life.wait_until(life.now + self.span)


class WaitFor(NamedTuple):
    """Until so long before or after something comes to pass."""

    what: str
    by: timedelta

    def take(self, life: Life) -> None:
        now, noticed = life.now, deepcopy(life.model)  # the same moment however often beat rang
        noticed.pass_time(now)
        cycle = noticed.open
        expiries = [g["expires"] for g in noticed.grants.values() if g["left"] and g["expires"]]
        moments = {
            "cycle end": [cycle["end"]],
            "closing": [cycle["start"] + HOUR],
            "expiry": expiries,
            "month end": [first_of_next_month(now)],
            "year end": [datetime(now.year + 1, 1, 1, tzinfo=UTC)],
            "29 february": [datetime(2028, 2, 29, tzinfo=UTC)],
        }
        wanted = [each + self.by for each in moments[self.what] if each + self.by > now]
        if wanted:
            life.wait_until(min(wanted))


class Deploy(NamedTuple):
    """So many fixes reached main so long ago."""

    age: timedelta = timedelta(0)
    fixes: int = 1

    def take(self, life: Life) -> None:
        for _ in range(self.fixes):
            life.fixes += 1
            life.deployed[life.fixes] = at = life.now - self.age
            life.take_in(deployed(f"fix-{life.fixes}", at=at), life.model.deploy)


class Again(NamedTuple):
    """The n-th last fix is reported again, perhaps under another event id and time."""

    nth_last: int
    as_another: bool

    def take(self, life: Life) -> None:
        if (number := life.fixes - self.nth_last) > 0:
            at = life.now if self.as_another else life.deployed[number]
            more = {"id": f"again-{life.entries}"} if self.as_another else {}
            tell = life.model.deploy if self.as_another else life.model.repeat
            life.take_in(deployed(f"fix-{number}", at=at, **more), tell)


class Revert(NamedTuple):
    """The n-th last fix is taken back; before the first, one that is reported next."""

    nth_last: int

    def take(self, life: Life) -> None:
        fix_id = f"fix-{max(1, life.fixes - self.nth_last)}"
        event = reverted(fix_id, id=f"reverted-{life.entries}", at=life.now)
        life.take_in(event, life.model.revert)


class Give(NamedTuple):
    """The operator does."""

    credits: int
    expires_in: timedelta | None

    def take(self, life: Life) -> None:
        life.before_a_life()
        life.given += 1
        key = f"gift-{life.given}"
        life.books.give(key, self.credits, self.expires_in, life.wall)
        until = self.expires_in and life.now + self.expires_in
        life.model.operator_gives(key, self.credits, until, life.now)


class Card(NamedTuple):
    """Added, or lost."""

    added: bool

    def take(self, life: Life) -> None:
        life.before_a_life()
        if self.added:
            life.books.add_card(life.wall)
            life.model.add_card(life.now)
        else:
            life.books.lose_card(life.wall)
            life.model.card = False


class AcceptHeld(NamedTuple):
    """Whatever is held now may become money."""

    def take(self, life: Life) -> None:
        life.before_a_life()
        life.books.accept_held(life.wall)
        life.model.accept_held(life.now)


class Cap(NamedTuple):
    """So many cents a cycle."""

    cents: int | None

    def take(self, life: Life) -> None:
        life.before_a_life()
        life.books.set_cap(self.cents, life.wall)
        life.model.set_cap(self.cents, life.now)


class Collect(NamedTuple):
    """The card pays what is owed."""

    def take(self, life: Life) -> None:
        life.before_a_life()
        charge_id = life.books.collect(life.wall)
        if charge_id is not None:
            life.charges.append(charge_id)
            life.model.collect(charge_id)


class Refund(NamedTuple):
    """The last payment for fixes goes back, whole."""

    def take(self, life: Life) -> None:
        if life.charges:
            life.before_a_life()
            charge_id = life.charges.pop()
            life.books.refund(charge_id, life.wall)
            life.model.refund(charge_id)


class Subscribe(NamedTuple):
    """To Pro, unless they are; the first period is paid at once, the others so long after."""

    pays_after: timedelta | None

    def take(self, life: Life) -> None:
        life.hear_all()
        if not life.model.card:
            return
        if life.subscription is None or life.subscription.ended:
            life.subscriptions += 1
            life.subscription = life.books.subscribe(life.subscriptions, life.wall)
            life.hear(life.subscription.pay())
        life.subscription.pays_after = self.pays_after


class End(NamedTuple):
    """The subscription is cancelled for the end of its period, or now; or goes on after all."""

    how: str

    def take(self, life: Life) -> None:
        life.hear_all()
        sub = life.subscription
        if sub is None or sub.ended:
            return
        if self.how == "now":
            life.hear(sub.cancel(life.now))
        else:
            sub.ends = self.how == "with period"
            life.hear(sub.standing())


class Beat(NamedTuple):
    """The sweep runs, so many times."""

    times: int = 1

    def take(self, life: Life) -> None:
        for _ in range(self.times):
            life.sweep()


class Stop(NamedTuple):
    """From now on what comes in waits."""

    def take(self, life: Life) -> None:
        life.stopped = True


class Resume(NamedTuple):
    """What waits is settled."""

    def take(self, life: Life) -> None:
        life.stopped = False
        life.settle()


class Deaf(NamedTuple):
    """From now on Stripe's webhooks do not arrive, or all at last."""

    deaf: bool

    def take(self, life: Life) -> None:
        life.deaf = self.deaf
        life.hear_news()


class ClockStep(NamedTuple):
    """The customer's business clock is moved on."""

    by: timedelta

    def take(self, life: Life) -> None:
        life.notice()
        life.ahead += self.by
        life.books.move_clock(self.by)
        life.hear_news()


# Random ones.

SPANS = [SECOND, MINUTE, 50 * MINUTE, HOUR, 5 * HOUR, DAY, 3 * DAY, 7 * DAY, 12 * DAY, 33 * DAY]
AROUND = [-SECOND, timedelta(0), SECOND, -30 * MINUTE, 30 * MINUTE, HOUR - SECOND, HOUR]
AGES = [timedelta(0), timedelta(0), SECOND, 40 * MINUTE, HOUR, 5 * HOUR, 2 * DAY, 7 * DAY, 8 * DAY]
WHATS = ["cycle end", "cycle end", "cycle end", "closing", "expiry", "expiry", "month end"]
LAGS = [HOUR, HOUR, HOUR, 2 * HOUR, 3 * DAY, 40 * DAY, None]

one_of = st.sampled_from
waits = st.one_of(
    st.builds(Wait, one_of(SPANS)),
    st.builds(WaitFor, one_of([*WHATS, "year end", "29 february"]), one_of(AROUND)),
)
fixes = st.one_of(
    st.builds(Deploy, one_of(AGES), one_of([1, 1, 2])),
    st.builds(Deploy, one_of(AGES), one_of([1, 5, 12])),
    st.builds(Revert, st.integers(0, 6)),
    st.builds(Again, st.integers(0, 4), st.booleans()),
)
changes = st.one_of(
    st.builds(Give, st.integers(1, 4), one_of([None, HOUR, DAY, 20 * DAY, 60 * DAY])),
    st.builds(Card, one_of([True, True, True, False])),
    st.just(AcceptHeld()),
    st.builds(Cap, one_of([None, 0, 3000, 6000, 100_000])),
    st.just(Collect()),
    st.just(Refund()),
    st.builds(Subscribe, one_of(LAGS)),
    st.builds(Subscribe, one_of(LAGS)),
    st.builds(End, one_of(["with period", "now", "continue"])),
    st.builds(ClockStep, one_of([MINUTE, 2 * DAY])),
)
faults = st.one_of(
    st.builds(Beat, one_of([1, 3])),
    st.just(Stop()),
    st.just(Resume()),
    st.builds(Deaf, st.booleans()),
)


def histories(*kinds: st.SearchStrategy[Any], steps: int = 60) -> st.SearchStrategy[list[Any]]:
    """Long ones; what a failing one does not need falls out of it."""
    drawn = st.lists(st.one_of(st.none(), *kinds), min_size=steps, max_size=steps)
    return drawn.map(lambda each: [step for step in each if step])
