"""Doors in order: each event goes to the first that answers for it, and to disk when none does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from producers.spool import Spool
from schemas.events import Event
from schemas.receipts import Receipt, receipt

if TYPE_CHECKING:
    from producers.signing import Signer

CHUNK = 500  # events a round trip; bounds what one lost answer leaves in doubt
PAUSE_SECONDS = 0.25  # before asking again; doubles
PAUSE_SECONDS_MAX = 2.0


class BadAddress(ValueError):
    """What should say where a door is cannot be read."""


@dataclass(frozen=True, slots=True)
class Undelivered:
    """No door answered for it. It may have arrived all the same: send the same event again."""

    event: Event
    why: str


Answered = Receipt | Undelivered
# One answer per event, in order. A door never raises for a neighbour's silence, and never retries.
Door = Callable[[Sequence[Event]], list[Answered]]


def deliver(
    events: Sequence[Event],
    doors: Iterable[Door],
    spool: Spool | None = None,
    progress: Callable[[int], object] | None = None,
) -> list[Answered]:
    """Every event to the first door that answers for it; what no door takes is kept on disk."""
    answers: list[Answered] = []
    answering = list(doors)
    for start in range(0, len(events), CHUNK):
        chunk = events[start : start + CHUNK]
        answers += kept(through(chunk, answering), spool)
        if progress:
            progress(len(chunk))
    return answers


def redis_door(url: str, signer: Signer | None = None) -> Door:
    """The inbox itself; raises BadAddress, which never quotes the address and its password."""
    sentence = "REDIS_URL and INBOX_REDIS_URL must read like redis://:password@host:6379/0"
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise BadAddress(sentence)

    def send(events: Sequence[Event]) -> list[Answered]:
        # Imported on use: redis takes longer to import than most events take to publish.
        from producers.publish import append_all, connect

        try:
            redis = connect(url)
        except ValueError:
            raise BadAddress(sentence) from None
        with redis:
            return append_all(events, redis, signer=signer)

    return send


def through(events: Sequence[Event], doors: list[Door]) -> list[Answered]:
    """The doors' answers. A silent door leaves the list: nobody waits for it chunk after chunk."""
    answers: list[Answered] = [Undelivered(event, "") for event in events]
    for door in tuple(doors):
        open_at = [i for i, answer in enumerate(answers) if isinstance(answer, Undelivered)]
        if not open_at:
            break
        found = door([events[i] for i in open_at])
        for i, answer in zip(open_at, found, strict=True):
            answers[i] = also(answers[i], answer)
        if all(isinstance(answer, Undelivered) for answer in found):
            doors.remove(door)
    return answers


def also(before: Answered, now: Answered) -> Answered:
    """The later answer, with the earlier door's silence still told."""
    if isinstance(now, Undelivered) and isinstance(before, Undelivered) and before.why:
        return Undelivered(now.event, f"{before.why}; {now.why}")
    return now


def kept(answers: list[Answered], spool: Spool | None) -> list[Answered]:
    """What no door took, on disk; a disk that does not take it either is told of."""
    missed = [answer for answer in answers if isinstance(answer, Undelivered)]
    if spool is None or not missed:
        return answers
    try:
        spool.keep([each.event for each in missed])
    except OSError as error:
        failure = f"nor could it be kept in {spool.directory}: {error.strerror or error}"
        return [
            Undelivered(each.event, f"{each.why}; {failure}")
            if isinstance(each, Undelivered)
            else each
            for each in answers
        ]
    return [
        receipt(each.event, "spooled", each.why) if isinstance(each, Undelivered) else each
        for each in answers
    ]


def ask_again(
    events: Sequence[Event],
    answers: Sequence[Answered],
    send: Callable[[Sequence[Event], float], list[Answered]],
    deadline: float,
) -> list[Answered]:
    """Send what is not decided yet, unchanged, until all is decided or `deadline` has come."""
    known = list(answers)
    pause = PAUSE_SECONDS
    while open_at := [i for i, answer in enumerate(known) if is_open(answer)]:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            break
        time.sleep(min(pause, remaining))
        pause = min(pause * 2, PAUSE_SECONDS_MAX)
        for start in range(0, len(open_at), CHUNK):
            part = open_at[start : start + CHUNK]
            found = send([events[i] for i in part], max(deadline - time.monotonic(), 0))
            for i, answer in zip(part, found, strict=True):
                known[i] = wiser(known[i], answer)
    return known


def wiser(before: Answered, now: Answered) -> Answered:
    """The later answer, unless it is silence or takes back what was promised before."""
    if isinstance(now, Undelivered) or (isinstance(before, Receipt) and now.status == "refused"):
        return before
    return now


def is_open(answer: Answered) -> bool:
    return isinstance(answer, Undelivered) or answer.status in {"accepted", "spooled"}
