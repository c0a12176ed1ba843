"""The rules of credits, plans and cycles a second time, in plain dicts: what the books must say.

Written from the words of the documentation, not from the code, and sharing nothing with it. One
customer; every verb happens at a moment of their business time.
"""

from __future__ import annotations

from calendar import monthrange
from collections import Counter
from copy import deepcopy
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

HOUR, DAY = timedelta(hours=1), timedelta(days=1)

PRIORITY = {
    **dict.fromkeys(("signup", "billing_added"), 10),
    **{"rolled": 15, "included": 20, "revert": 30, "operator": 40, "top_up": 50},
}


class Terms(NamedTuple):
    """What one version of a plan says; money in cents."""

    price: int | None = None
    subscription: int | None = None
    included: int = 0
    rolls: int = 0
    signup: int = 0
    card_added: int = 0
    days: int | None = None
    after: str | None = None  # the plan after a subscription, or after a card was added


def newest(plans: dict[str, dict[date, Terms]], plan: str, at: datetime) -> date:
    return max(day for day in plans[plan] if day <= at.date())


def month_later(anchor: datetime, start: datetime) -> datetime:
    """The anchor's day of the following month, or that month's last."""
    year, month = start.year + start.month // 12, start.month % 12 + 1
    day = min(anchor.day, monthrange(year, month)[1])
    return anchor.replace(year=year, month=month, day=day)


def first_of_next_month(at: datetime) -> datetime:
    return datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)


class Model:
    """One customer, from the beginning."""

    def __init__(self, plans: dict[str, dict[date, Terms]], plan: str, now: datetime) -> None:
        self.plans, self.plan, self.version = plans, plan, newest(plans, plan, now)
        self.card, self.cap, self.agreed_until = False, None, None  # type: bool, int | None, Any
        begins = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        self.cycles = [{"start": begins, "end": first_of_next_month(now)}]
        self.closing = False  # the cycle before the open one still takes its own fixes
        self.spent = 0
        self.subscription: dict[str, Any] | None = None
        self.grants: dict[str, dict[str, Any]] = {}
        self.fixes: dict[str, dict[str, Any]] = {}
        self.charged: Counter[int] = Counter()  # cents, by cycle
        self.invoiced: Counter[int] = Counter()
        self.expired = 0
        if self.terms.signup:
            self.give("signup", "signup", self.terms.signup, self.in_days(now), now)

    @property
    def terms(self) -> Terms:
        return self.plans[self.plan][self.version]

    @property
    def open(self) -> dict[str, datetime]:
        return self.cycles[-1]

    # Time.

    def pass_time(self, until: datetime) -> None:
        """Each thing at its own moment: closing, expiry, next cycle, rolled credits, backlog."""
        while True:
            ends = [g["expires"] for g in self.grants.values() if g["left"] and g["expires"]]
            closes = [self.open["start"] + HOUR] if self.closing else []
            now = min([*ends, *closes, self.open["end"]])
            if now > until:
                return
            self.closing = self.closing and now < self.open["start"] + HOUR
            over = [g for g in self.grants.items() if g[1]["left"] and g[1]["expires"] == now]
            rolled = [(key, self.lapse(grant)) for key, grant in sorted(over, key=in_order)]
            if now == self.open["end"]:
                self.begin_cycle()
            for key, number in rolled:
                if number:
                    self.give(f"roll:{key}", "rolled", number, self.open["end"], now, origin=key)
            self.pay_backlog(now)

    def lapse(self, grant: dict[str, Any]) -> int:
        rolled: int = min(grant["left"], grant["rolls"])
        self.expired += grant["left"] - rolled
        grant["gone"] += grant["left"]
        grant["left"] = grant["rolls"] = 0
        return rolled

    def begin_cycle(self) -> None:
        start = self.open["end"]
        if self.subscription and self.subscription["ends"]:
            self.leave(start)
        self.cycles.append({"start": start, "end": self.end_from(start)})
        self.closing, self.spent = True, 0
        self.take_newest()

    def end_from(self, start: datetime) -> datetime:
        if self.subscription:
            return month_later(self.subscription["anchor"], start)
        return first_of_next_month(start)

    def cut(self, at: datetime) -> None:
        """The open cycle ends now; one that has only begun gets another end."""
        if at > self.open["start"]:
            self.open["end"] = at
            self.begin_cycle()
        else:
            self.open["end"] = self.end_from(self.open["start"])
            self.take_newest()

    def take_newest(self) -> None:
        """For a cycle that begins; whoever subscribed at another price keeps their version."""
        version = newest(self.plans, self.plan, self.open["start"])
        same = self.plans[self.plan][version].subscription == self.terms.subscription
        if not self.subscription or same:
            self.version = version

    def leave(self, at: datetime) -> None:
        self.plan, self.subscription = self.terms.after or self.plan, None
        self.version = newest(self.plans, self.plan, at)

    # Credits and money.

    def in_days(self, now: datetime) -> datetime | None:
        return None if self.terms.days is None else now + self.terms.days * DAY

    def give(self, key: str, source: str, number: int, expires: Any, now: Any, **more: Any) -> None:
        given = {"source": source, "granted": number, "left": number, "expires": expires}
        self.grants[key] = {**given, "at": now, "rolls": 0, "origin": None, "gone": 0, **more}

    def credit(self, now: datetime) -> str | None:
        usable = [
            item
            for item in self.grants.items()
            if item[1]["left"] and (item[1]["expires"] is None or item[1]["expires"] > now)
        ]
        return min(usable, key=in_order)[0] if usable else None

    def price(self) -> int | None:
        """What a fix costs now; None where no money may be taken."""
        price, sub = self.terms.price, self.subscription
        paid = not sub or sub["paid_until"] > self.open["start"]
        if price is None or not self.card or not paid:
            return None
        return None if self.cap is not None and self.spent + price > self.cap else price

    def pay(self, fix: dict[str, Any], now: datetime, *, money: bool) -> None:
        """By a credit, else by money, else it is held; in the cycle and on the plan of today."""
        key, price = self.credit(now), self.price() if money else None
        if fix["outcome"] is None or key or price is not None:
            self.place(fix, now)
        fix["outcome"] = "credited" if key else "held" if price is None else "charged"
        if key:
            self.grants[key]["left"] -= 1
            fix["paid_by"] = key
        elif price is not None:
            fix["paid_by"], fix["spent_in"] = price, None
            if now >= self.open["start"]:
                fix["spent_in"], self.spent = len(self.cycles), self.spent + price
            self.charged[self.counts_in(fix)] += price

    def place(self, fix: dict[str, Any], now: datetime) -> None:
        before = self.cycles[-2] if self.closing and now < self.open["start"] + HOUR else None
        its_own = before and before["start"] <= fix["deployed"] < before["end"]
        fix["cycle"] = len(self.cycles) - bool(its_own)
        fix["plan"] = self.plan, self.version
        is_over = fix["deployed"] < self.cycles[fix["cycle"] - 1]["start"]
        fix["late"] = fix["late"] or is_over or fix["accepted"] - fix["deployed"] > 7 * DAY

    def counts_in(self, fix: dict[str, Any]) -> int:
        """Of what is closed nothing changes any more."""
        still = len(self.cycles) - self.closing
        return int(fix["cycle"]) if fix["cycle"] >= still else len(self.cycles)

    def pay_backlog(self, now: datetime) -> None:
        held = [fix for fix in self.fixes.values() if fix["outcome"] == "held"]
        for fix in sorted(held, key=lambda each: (each["deployed"], each["id"])):
            until = self.agreed_until
            agreed = self.cap is not None or (until is not None and fix["known"] <= until)
            self.pay(fix, now, money=agreed)

    # What comes through the inbox: at the moment it was accepted, whenever we get to know of it.

    def deploy(self, fix_id: str, deployed: datetime, now: datetime, known: datetime) -> None:
        self.pass_time(now)
        self.pay_backlog(now)
        if fix_id not in self.fixes:
            self.pay(self.file(fix_id, deployed, now, known), now, money=True)

    def repeat(self, fix_id: str, deployed: datetime, now: datetime, known: datetime) -> None:
        """Nothing happens, not even that time passes."""

    def file(self, fix_id: str, deployed: datetime, now: datetime, known: datetime) -> Any:
        fix = {"id": fix_id, "deployed": deployed, "accepted": now, "known": known}
        self.fixes[fix_id] = fix | {"outcome": None, "paid_by": None, "late": False}
        return self.fixes[fix_id]

    def revert(self, fix_id: str, reverted: datetime, now: datetime, known: datetime) -> None:
        self.pass_time(now)
        self.pay_backlog(now)
        fix = self.fixes.get(fix_id)
        if fix is None:
            self.place(self.file(fix_id, reverted, now, known), now)
        elif fix["outcome"] == "reverted" or reverted - fix["deployed"] > 30 * DAY:
            return
        elif fix["outcome"] == "credited":
            self.give_back(self.grants[fix["paid_by"]], now)
        elif fix["outcome"] == "charged" and fix.get("money") is None:
            self.charged[self.counts_in(fix)] -= fix["paid_by"]
            self.spent -= fix["paid_by"] if fix["spent_in"] == len(self.cycles) else 0
        elif fix.get("money") == "collected":
            self.give(f"revert:{fix_id}", "revert", 1, None, now, origin=fix["charge"])
        self.fixes[fix_id] |= {"outcome": "reverted", "paid_by": None}
        self.pay_backlog(now)

    def give_back(self, grant: dict[str, Any], now: datetime) -> None:
        """Into the grant, which opens again for 30 days if it has expired; then it just expires."""
        grant["left"] += 1
        if grant["expires"] is not None and grant["expires"] <= now:
            grant["expires"], grant["rolls"] = now + 30 * DAY, 0

    # The other lives: they act now, in the cycle that is open now.

    def operator_gives(self, key: str, number: int, expires: Any, now: datetime) -> None:
        self.give(key, "operator", number, expires, now)
        self.pay_backlog(now)

    def add_card(self, now: datetime) -> None:
        self.card = True
        if self.terms.card_added:
            if "billing_added" not in self.grants:
                until = self.in_days(now)
                self.give("billing_added", "billing_added", self.terms.card_added, until, now)
            self.plan = self.terms.after or self.plan
            self.version = newest(self.plans, self.plan, now)
        self.pay_backlog(now)

    def set_cap(self, cents: int | None, now: datetime) -> None:
        self.cap = cents
        self.pay_backlog(now)

    def accept_held(self, now: datetime) -> None:
        self.agreed_until = now
        self.pay_backlog(now)

    def collect(self, charge: str) -> None:
        for fix in self.fixes.values():
            if fix["outcome"] == "charged" and fix.get("money") is None:
                fix |= {"money": "collected", "charge": charge}

    def refund(self, charge: str) -> None:
        """The money goes back, and with it the unused credits it was given for."""
        for fix in self.fixes.values():
            if fix.get("charge") == charge:
                fix["money"] = "returned"
        for grant in self.grants.values():
            if grant["origin"] == charge:
                grant["gone"] += grant["left"]
                grant["left"] = 0

    # Stripe.

    def period_paid(self, paid: Any, now: datetime) -> None:
        """A period of a subscription: its cycle if it runs, its money, and its credits once."""
        version = self.sold_for(paid)
        if paid.end > now and not paid.ended:
            self.enter(paid, version)
        key = f"included:{paid.subscription}:{paid.start:%Y-%m-%dT%H:%M:%SZ}"
        terms = self.plans[paid.plan][version]
        if key not in self.grants:
            until = paid.end if paid.end > now else self.open_until(now)
            more = {"rolls": terms.rolls, "origin": paid.invoice}
            self.give(key, "included", terms.included, until, now, **more)
        self.pay_backlog(now)
        self.invoiced[len(self.cycles)] += paid.amount

    def open_until(self, now: datetime) -> datetime:
        """The end of the cycle that is open now, though nobody may have noticed yet."""
        noticed = deepcopy(self)
        noticed.pass_time(now)
        return noticed.open["end"]

    def sold_for(self, paid: Any) -> date:
        """The newest version at the period's start that costs what the subscription does."""
        versions = self.plans[paid.plan]
        cost = versions[paid.version].subscription
        begun = [day for day in versions if day <= paid.start.date()]
        return max(day for day in begun if versions[day].subscription == cost)

    def enter(self, paid: Any, version: date) -> None:
        self.roll_to(paid.start)
        if self.subscription is None:
            self.subscription = {"id": paid.subscription, "anchor": paid.anchor, "ends": False}
            self.subscription["paid_until"] = paid.end
            self.cut(paid.start)
            self.plan, self.version = paid.plan, version
        known = self.subscription
        known["ends"], known["paid_until"] = paid.ends, max(paid.end, known["paid_until"])
        self.open["end"] = paid.end

    def roll_to(self, at: datetime) -> None:
        """Every life is in the cycle of its moment; credits wait until time is noticed."""
        while self.open["end"] <= at:
            self.begin_cycle()

    def subscription_is(self, seen: Any, now: datetime) -> None:
        if self.subscription is None or self.subscription["id"] != seen.subscription:
            return
        if seen.ended is None:
            self.subscription["ends"] = seen.ends
        else:
            self.subscription_ended(min(seen.ended, now))
        self.pay_backlog(now)

    def subscription_ended(self, at: datetime) -> None:
        assert self.subscription is not None
        if at >= self.open["end"]:
            self.subscription["ends"] = True
            self.roll_to(at)
        elif at > self.open["start"]:
            self.subscription["ends"] = True
            self.cut(at)
        else:
            self.leave(self.open["start"])
            self.cut(at)


def in_order(item: tuple[str, dict[str, Any]]) -> Any:
    """Priority, then soonest expiry, then oldest."""
    key, grant = item
    never = datetime.max.replace(tzinfo=UTC)
    return PRIORITY[grant["source"]], grant["expires"] or never, grant["at"], key
