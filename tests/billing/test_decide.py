from __future__ import annotations

from datetime import timedelta

import pytest

from schemas.events import Event, derived_fix_id
from tests.builders import DAY, HOUR, NOW, book, charge, deployed, fix, grant, known, reverted, usd
from worker.billing.book import Book
from worker.billing.charges import IN_FLIGHT, ChargeStatus
from worker.billing.decide import FUTURE_MAX, REVERT_WITHIN, decide
from worker.billing.fix import FixOutcome
from worker.billing.known import Known
from worker.billing.outcome import (
    Charged,
    Credited,
    Held,
    Outcome,
    Refused,
    Reverted,
    Tombstone,
    Unchanged,
    Waiting,
)

DERIVED = derived_fix_id("github.com", 42, 7)
EVENT = ("acme", "github.com/acme/shop", "deployed-fix-1")
OTHER_BODY = {EVENT: b"another body"}
SAME_BODY = {EVENT: deployed().body_hash}
TOO_FAR = NOW + FUTURE_MAX + timedelta(microseconds=1)

FUTURE = Refused("future", "time is more than 5 minutes ahead; check the sender's clock")
CONFLICT = Refused("conflict", "this event id was used before with another body")
CLAIMED = Refused("claimed", "this pull request was already billed to another customer")
TOO_LATE = Refused("revert_too_late", "a fix can be reverted within 30 days")

CASES: list[tuple[str, Book | None, Known, Event, Outcome]] = [
    ("a credit pays", book(grants=[grant()]), known(), deployed(), Credited(grant())),
    ("money pays", book(), known(), deployed(), Charged(usd(29))),
    (
        "nothing pays",
        book("trial"),
        known(),
        deployed(),
        Held("no credit left, and the plan has no price per fix"),
    ),
    ("the customer is unknown", None, known(), deployed(), Waiting()),
    ("the fix was seen", book(), known(fix()), deployed(), Unchanged()),
    (
        "the reverted fix is seen again",
        book(),
        known(fix("fix-1", FixOutcome.REVERTED)),
        deployed(),
        Unchanged(),
    ),
    ("the event id had another body", book(), known(events=OTHER_BODY), deployed(), CONFLICT),
    (
        "the event id of an unknown customer had another body",
        None,
        known(events=OTHER_BODY),
        deployed(),
        CONFLICT,
    ),
    ("at the edge of the future", book(), known(), deployed(at=NOW + FUTURE_MAX), Charged(usd(29))),
    ("beyond the edge of the future", book(), known(), deployed(at=TOO_FAR), FUTURE),
    ("a fix of the distant past", book(), known(), deployed(at=NOW - 4000 * DAY), Charged(usd(29))),
    (
        "another customer's pull request",
        book(),
        Known(claims={DERIVED: "other"}),
        deployed(DERIVED),
        CLAIMED,
    ),
    (
        "the customer's own pull request",
        book(),
        Known(claims={DERIVED: "acme"}),
        deployed(DERIVED),
        Charged(usd(29)),
    ),
    (
        "a revert of another customer's pull request",
        book(),
        Known(claims={DERIVED: "other"}),
        reverted(DERIVED),
        CLAIMED,
    ),
    ("a revert before the fix", book(), known(), reverted(), Tombstone()),
    ("a revert of an unknown customer", None, known(), reverted(), Waiting()),
    (
        "a second revert",
        book(),
        known(fix("fix-1", FixOutcome.REVERTED)),
        reverted(),
        Unchanged(),
    ),
]


@pytest.mark.parametrize(
    ("standing", "seen", "event", "expected"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_every_event_has_one_outcome(
    standing: Book | None, seen: Known, event: Event, expected: Outcome
) -> None:
    at = NOW

    outcome = decide(standing, seen, event, at)

    assert outcome == expected


PRECEDENCE: list[tuple[str, Book | None, Known, Event, Outcome]] = [
    ("future before conflict", book(), known(events=OTHER_BODY), deployed(at=TOO_FAR), FUTURE),
    ("future before unknown customer", None, known(), deployed(at=TOO_FAR), FUTURE),
    ("conflict before unknown customer", None, known(events=OTHER_BODY), deployed(), CONFLICT),
    (
        "conflict before claimed",
        book(),
        Known(
            events={("acme", "github.com/acme/shop", f"deployed-{DERIVED}"): b""},
            claims={DERIVED: "other"},
        ),
        deployed(DERIVED),
        CONFLICT,
    ),
    (
        "unknown customer before claimed",
        None,
        Known(claims={DERIVED: "other"}),
        deployed(DERIVED),
        Waiting(),
    ),
    (
        "claimed before the known fix",
        book(),
        known(fix(DERIVED), claims={DERIVED: "other"}),
        deployed(DERIVED),
        CLAIMED,
    ),
    (
        "the known fix before any payment",
        book(grants=[grant()]),
        known(fix()),
        deployed(),
        Unchanged(),
    ),
    (
        "already reverted before too late",
        book(),
        known(fix("fix-1", FixOutcome.REVERTED, deployed_at=NOW - 99 * DAY)),
        reverted(),
        Unchanged(),
    ),
    (
        "too late whatever paid",
        book(),
        known(fix("fix-1", FixOutcome.HELD, deployed_at=NOW - 99 * DAY)),
        reverted(),
        TOO_LATE,
    ),
]


@pytest.mark.parametrize(
    ("standing", "seen", "event", "expected"),
    [case[1:] for case in PRECEDENCE],
    ids=[case[0] for case in PRECEDENCE],
)
def test_the_first_reason_wins(
    standing: Book | None, seen: Known, event: Event, expected: Outcome
) -> None:
    at = NOW

    outcome = decide(standing, seen, event, at)

    assert outcome == expected


def test_another_source_may_use_the_same_event_id() -> None:
    seen = known(events={EVENT: deployed().body_hash})

    outcome = decide(
        book(), seen, deployed("fix-2", id="deployed-fix-1", source="gitlab.com/x"), NOW
    )

    assert outcome == Charged(usd(29))


def test_another_customer_may_use_the_same_event_and_fix_id() -> None:
    seen = known(fix(), events=SAME_BODY)

    outcome = decide(book(customer_id="globex"), seen, deployed(customer_id="globex"), NOW)

    assert outcome == Charged(usd(29))


HOWS = [
    (fix(), book(), "dropped"),
    (fix("fix-1", FixOutcome.CREDITED), book(), "given_back"),
    (fix("fix-1", FixOutcome.CHARGED), book(open_charge=charge()), "uncharged"),
    *(
        (fix("fix-1", FixOutcome.CHARGED), book(charge_in_flight=charge(status=each)), "uncharged")
        for each in IN_FLIGHT
    ),
    (
        fix("fix-1", FixOutcome.CHARGED),
        book(
            open_charge=charge(charge_id="ch_next"),
            charge_in_flight=charge(charge_id="ch_before", status=ChargeStatus.FROZEN),
        ),
        "compensated",
    ),
    (fix("fix-1", FixOutcome.CHARGED), book(), "compensated"),
]


@pytest.mark.parametrize(
    ("seen", "standing", "how"),
    HOWS,
    ids=[
        "held",
        "credited",
        "on the open charge",
        *(f"on a charge that is {each}" for each in IN_FLIGHT),
        "on an earlier charge",
        "no charge is owed",
    ],
)
def test_a_revert_undoes_what_paid(seen: object, standing: Book, how: str) -> None:
    assert not isinstance(seen, str)
    at = NOW

    outcome = decide(standing, known(seen), reverted(), at)  # type: ignore[arg-type]

    assert isinstance(outcome, Reverted)
    assert (outcome.fix, outcome.how) == (seen, how)


@pytest.mark.parametrize(
    ("paid_by", "standing", "how"),
    [
        (FixOutcome.CHARGED, book(), "forgiven"),
        (FixOutcome.CHARGED, book(open_charge=charge()), "uncharged"),
        (FixOutcome.CREDITED, book(), "given_back"),
    ],
    ids=["collected", "owed", "credited"],
)
def test_what_is_gone_is_not_given_once_more(paid_by: FixOutcome, standing: Book, how: str) -> None:
    seen = known(fix("fix-1", paid_by), money_gone={("acme", "fix-1")})

    outcome = decide(standing, seen, reverted(), NOW)

    assert isinstance(outcome, Reverted)
    assert outcome.how == how


@pytest.mark.parametrize("paid_by", [each for each in FixOutcome if each != "reverted"])
def test_a_revert_is_taken_for_thirty_days(paid_by: FixOutcome) -> None:
    old = fix("fix-1", paid_by, deployed_at=NOW - HOUR - REVERT_WITHIN)

    in_time = decide(book(), known(old), reverted(at=NOW - HOUR), NOW)
    too_late = decide(book(), known(old), reverted(at=NOW - HOUR + timedelta(seconds=1)), NOW)

    assert isinstance(in_time, Reverted)
    assert too_late == TOO_LATE
