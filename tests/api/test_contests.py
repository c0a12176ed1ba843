"""A customer contests a fix: once, while it can be taken back, and only their own."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from httpx import Response
from structlog.typing import EventDict

from schemas.contests import REASON_MAX
from tests.api.client import Api, problem_in
from tests.builders import (
    DAY,
    MINUTE,
    NOW,
    add_customer,
    deployed,
    one_row,
    reverted,
    rows_of,
    settle_events,
)
from worker.billing.contests import Decision
from worker.contest import reject_contest
from worker.storage import tables

WRONG = "The pull request was reverted the same day."


@pytest.fixture
def site(api: Api) -> Api:
    """acme has fixes that a credit and money paid for and one that was taken back."""
    return filled(api)


@pytest.fixture(scope="module")
def quiet_site(shared_api: Api) -> Api:
    """The same for tests that write nothing."""
    return filled(shared_api)


def filled(api: Api) -> Api:
    add_customer(api.engine, credits=1)
    add_customer(api.engine, "globex", card=False)
    settle_events(
        api.engine,
        deployed("credited", at=NOW - 3 * MINUTE),
        deployed("charged", at=NOW - 2 * MINUTE),
        deployed("taken-back"),
        reverted("taken-back"),
        deployed("held", "globex"),
    )
    return api


def contest(
    api: Api,
    fix_id: str = "charged",
    reason: Any = WRONG,
    *,
    customer_id: str = "acme",
    key: str | None = None,
    idempotency_key: str | None = None,
) -> Response:
    path = f"/api/v1/customers/{customer_id}/fixes/{fix_id}/contest"
    headers = api.signed(key) | {"Content-Type": "application/json"}
    if idempotency_key is not None:
        headers["Idempotency-Key"] = idempotency_key
    return api.ask("POST", path, headers, json.dumps({"reason": reason}).encode())


def listed(api: Api, query: str = "", customer_id: str = "acme") -> Any:
    path = f"/api/v1/customers/{customer_id}/contests{query}"
    return api.ask("GET", path, api.signed()).json()


@pytest.mark.parametrize(
    ("customer_id", "fix_id"), [("acme", "credited"), ("acme", "charged"), ("globex", "held")]
)
def test_a_settled_fix_can_be_contested_by_who_may_read_it(
    site: Api, customer_id: str, fix_id: str, logged: list[EventDict]
) -> None:
    reader = site.key("read", customers=[customer_id])

    got = contest(site, fix_id, customer_id=customer_id, key=reader)

    answer = got.json()
    assert got.status_code == 201
    assert (answer["fix_id"], answer["reason"], answer["status"]) == (fix_id, WRONG, "open")
    assert one_row(site.engine, tables.contests)["contest_id"] == answer["contest_id"]
    (told,) = [each for each in logged if each["event"] == "contest_opened"]
    assert (told["contest"], WRONG in str(told)) == (answer["contest_id"], False)


def test_nothing_is_taken_back_before_the_operator_decides(site: Api) -> None:
    before = rows_of(site.engine, tables.books), rows_of(site.engine, tables.fixes)

    assert contest(site).status_code == 201

    assert (rows_of(site.engine, tables.books), rows_of(site.engine, tables.fixes)) == before


@pytest.mark.parametrize("key", [None, "my-key"])
def test_the_same_again_is_the_same_contest(site: Api, key: str | None) -> None:
    first, again = (contest(site, idempotency_key=key) for _ in range(2))

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()


def test_a_key_stands_for_its_contest_even_after_that_is_decided(site: Api) -> None:
    first = contest(site, idempotency_key="my-key").json()
    reject_contest(first["contest_id"], "it was right", site.engine, site.doors.clock)

    again = contest(site, idempotency_key="my-key")

    assert (again.status_code, again.json()["status"]) == (200, Decision.REJECTED)
    assert again.json()["contest_id"] == first["contest_id"]


@pytest.mark.parametrize(("fix_id", "reason"), [("credited", WRONG), ("charged", "Another one.")])
def test_a_key_cannot_be_used_for_something_else(site: Api, fix_id: str, reason: str) -> None:
    contest(site, idempotency_key="my-key")

    refused = problem_in(contest(site, fix_id, reason, idempotency_key="my-key"), 422)

    assert refused["type"].endswith("idempotency-key-reused")
    assert len(rows_of(site.engine, tables.contests)) == 1


def test_two_customers_may_use_the_same_key(site: Api) -> None:
    mine = contest(site, idempotency_key="my-key")
    theirs = contest(site, "held", customer_id="globex", idempotency_key="my-key")

    assert (mine.status_code, theirs.status_code) == (201, 201)


def test_a_fix_is_not_contested_for_two_reasons_at_once(site: Api) -> None:
    first = contest(site).json()

    assert first["contest_id"] in problem_in(contest(site, reason="Another one."), 409)["detail"]


def test_a_fix_that_was_taken_back_cannot_be_contested(quiet_site: Api) -> None:
    assert "taken back already" in problem_in(contest(quiet_site, "taken-back"), 409)["detail"]


@pytest.mark.parametrize(("age", "status"), [(30 * DAY - MINUTE, 201), (30 * DAY + MINUTE, 409)])
def test_a_fix_can_be_contested_for_30_days(site: Api, age: Any, status: int) -> None:
    at = site.doors.clock.now() - age
    settle_events(site.engine, deployed("old", at=at))

    assert contest(site, "old").status_code == status


def test_what_is_not_there_or_of_others_is_not_found(quiet_site: Api) -> None:
    theirs = quiet_site.key("read", customers=["globex"])

    problem_in(contest(quiet_site, "nothing"), 404)
    problem_in(contest(quiet_site, "held"), 404)
    problem_in(contest(quiet_site, customer_id="nobody"), 404)
    problem_in(contest(quiet_site, key=theirs), 404)
    problem_in(contest(quiet_site, key=quiet_site.key("publish")), 403)
    assert rows_of(quiet_site.engine, tables.contests) == []


@pytest.mark.parametrize(
    "reason",
    ["", "   ", "a\nb", "a\x00b", "a\x1b[31mb", "\u202eb", "\u2028", "x" * (REASON_MAX + 1), 1],
)
def test_a_reason_that_is_no_line_of_text_is_refused(quiet_site: Api, reason: Any) -> None:
    assert problem_in(contest(quiet_site, reason=reason), 422)["field"] == "reason"


@pytest.mark.parametrize("reason", ["x" * REASON_MAX, "修正は間違っていた。", "naïve — “no” 👎"])
def test_a_reason_may_be_in_any_language(site: Api, reason: str) -> None:
    assert contest(site, reason=reason).json()["reason"] == reason


@pytest.mark.parametrize("key", ["", "a b", "x" * 129, "ä"])
def test_a_key_that_is_none_is_refused(quiet_site: Api, key: str) -> None:
    assert problem_in(contest(quiet_site, idempotency_key=key), 422)["field"] == "idempotency-key"


@pytest.mark.parametrize("same_key", [True, False])
def test_of_many_at_once_one_opens_it(site: Api, same_key: bool) -> None:
    def post(number: int) -> Response:
        return contest(site, idempotency_key="my-key" if same_key else f"key-{number}")

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(post, range(6)))

    assert sorted(each.status_code for each in answers) == [200] * 5 + [201]
    assert len({each.json()["contest_id"] for each in answers}) == 1
    assert len(rows_of(site.engine, tables.contests)) == 1


def test_contests_are_listed_newest_first_page_by_page(site: Api) -> None:
    opened = [contest(site, fix_id).json()["contest_id"] for fix_id in ("credited", "charged")]

    first = listed(site, "?limit=1")
    second = listed(site, f"?limit=1&cursor={first['cursor']}")

    assert [each["contest_id"] for each in first["data"] + second["data"]] == opened[::-1]
    assert (first["has_more"], second["has_more"], second["cursor"]) == (True, False, None)
    assert listed(site, customer_id="globex")["data"] == []


def test_a_contest_is_part_of_the_explanation_of_its_fix(site: Api) -> None:
    opened = contest(site).json()

    path = "/api/v1/customers/acme/fixes/charged/explain"
    found = site.ask("GET", path, site.signed()).json()

    assert found["contests"] == [opened]
    assert WRONG in found["story"][-1]
