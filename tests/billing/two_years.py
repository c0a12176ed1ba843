"""Two years of a customer, lived twice: in the books and in the model."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from schemas.events import Event
from tests.billing.lives import Paid, Standing
from tests.billing.memory import Memory
from tests.billing.model import DAY, Model
from tests.builders import NOW, arrival
from worker.billing.fix import Arrival


class Subscriber(Protocol):
    """A subscription at Stripe, and what it tells of itself."""

    ends: bool
    ended: datetime | None
    pays_after: timedelta | None

    def next(self) -> datetime | None: ...
    def go_on(self, now: datetime) -> Paid | Standing: ...
    def pay(self) -> Paid: ...
    def cancel(self, now: datetime) -> Standing: ...
    def standing(self) -> Standing: ...


class Books(Protocol):
    """Where everything is done in earnest; `now` is the wall's time."""

    @property
    def memory(self) -> Memory: ...
    def settle(self, arrivals: list[Arrival], now: datetime) -> None: ...
    def sweep(self, until: datetime, now: datetime) -> None: ...
    def move_clock(self, by: timedelta) -> None: ...
    def give(self, key: str, number: int, expires_in: timedelta | None, now: datetime) -> None: ...
    def add_card(self, now: datetime) -> None: ...
    def lose_card(self, now: datetime) -> None: ...
    def accept_held(self, now: datetime) -> None: ...
    def set_cap(self, cents: int | None, now: datetime) -> None: ...
    def collect(self, now: datetime) -> str | None: ...
    def refund(self, charge_id: str, now: datetime) -> None: ...
    def subscribe(self, number: int, now: datetime, /) -> Subscriber: ...
    def hear(self, told: Paid | Standing, now: datetime) -> None: ...


class Waiting(NamedTuple):
    """An entry in the inbox, and what the model makes of it once it is settled."""

    arrival: Arrival
    tell: Callable[..., None]
    fix_id: str


class Life:
    """A customer's life so far: in the books and in the model, at one moment."""

    def __init__(
        self,
        books: Books,
        model: Model,
        start: datetime = NOW,
        *,
        beats: int = 0,
        noticing: bool = False,
        stands_on: int | None = None,
        together: int = 1000,
    ) -> None:
        """`beats` a day. `noticing`: the sweep has been when another life begins.

        `stands_on`: from this day on the worker stands for a week, or until another life is needed.
        `together`: so many entries in a batch.
        """
        self.books, self.model = books, model
        self.beats, self.noticing, self.together = beats, noticing, together
        self.stands = (
            [] if stands_on is None else [start + stands_on * DAY, start + (stands_on + 7) * DAY]
        )
        self.start = self.wall = start
        self.ahead = timedelta(0)
        self.waiting: list[Waiting] = []
        self.stopped = self.deaf = False
        self.unheard: list[Paid | Standing] = []
        self.entries = self.fixes = self.subscriptions = self.given = 0
        self.deployed: dict[int, datetime] = {}
        self.charges: list[str] = []
        self.subscription: Subscriber | None = None

    @property
    def now(self) -> datetime:
        """By the customer's business clock."""
        return self.wall + self.ahead

    def wait_until(self, moment: datetime) -> None:
        """What Stripe does meanwhile is heard at once, and beat rings so many times a day."""
        while self.now < moment:
            following = min([moment, *self.news(), *self.next_beat(), *self.stands])
            self.wall += max(following - self.now, timedelta(0))
            if self.next_beat_was(following) and not self.stopped:
                self.sweep()
            self.stand_still()
            self.hear_news()

    def stand_still(self) -> None:
        if self.stands and self.stands[0] <= self.now:
            self.stands.pop(0)
            self.stopped = len(self.stands) == 1
            if not self.stopped:
                self.settle()

    def news(self) -> list[datetime]:
        moment = self.subscription.next() if self.subscription else None
        return [moment] if moment else []

    def next_beat(self) -> list[datetime]:
        if not self.beats:
            return []
        gap = DAY / self.beats
        return [self.start + gap * ((self.now - self.start) // gap + 1)]

    def next_beat_was(self, moment: datetime) -> bool:
        return bool(self.beats) and (moment - self.start) % (DAY / self.beats) == timedelta(0)

    def hear_news(self) -> None:
        while (moments := self.news()) and moments[0] <= self.now:
            assert self.subscription is not None
            self.unheard.append(self.subscription.go_on(moments[0]))
        if not self.deaf:
            self.hear_all()

    def hear_all(self) -> None:
        while self.unheard:
            self.hear(self.unheard.pop(0))

    def hear(self, told: Paid | Standing) -> None:
        """As it is by then: who hears of something asks Stripe how it stands."""
        assert self.subscription is not None
        told = told._replace(ends=self.subscription.ends, ended=self.subscription.ended)
        self.before_a_life()
        self.books.hear(told, self.wall)
        if isinstance(told, Paid):
            self.model.period_paid(told, self.now)
        else:
            self.model.subscription_is(told, self.now)

    def before_a_life(self) -> None:
        self.notice()
        self.model.roll_to(self.now)

    def notice(self) -> None:
        if self.noticing:
            self.stopped = False
            self.settle()
            self.sweep()

    def take_in(self, event: Event, tell: Callable[..., None]) -> None:
        self.entries += 1
        came = arrival(event, at=self.wall, key=f"0/{self.entries}-0")
        self.waiting.append(Waiting(came, tell, event.fix_id))
        if not self.stopped:
            self.settle()

    def settle(self) -> None:
        waiting, self.waiting = self.waiting, []
        for first in range(0, len(waiting), self.together):
            some = waiting[first : first + self.together]
            self.books.settle([each.arrival for each in some], self.wall)
        for each in waiting:
            at = each.arrival.entry.accepted_at + self.ahead
            each.tell(each.fix_id, each.arrival.event.time, at, self.now)

    def sweep(self) -> None:
        """As far as everything that came before is settled."""
        until = min([self.wall, *(each.arrival.entry.accepted_at for each in self.waiting)])
        self.books.sweep(until, self.wall)
        self.model.pass_time(until + self.ahead)
