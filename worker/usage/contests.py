"""Contests as they are answered."""

from __future__ import annotations

from typing import Literal, cast

from schemas.contests import ContestAnswer
from worker.billing.contests import Contest


def contest_answer(contest: Contest) -> ContestAnswer:
    status = cast(Literal["accepted", "rejected"] | None, contest.decision)
    return ContestAnswer(
        contest_id=contest.contest_id,
        customer_id=contest.customer_id,
        fix_id=contest.fix_id,
        reason=contest.reason,
        status=status or "open",
        opened_at=contest.opened_at,
        decided_at=contest.decided_at,
        decided_why=contest.decided_why,
    )
