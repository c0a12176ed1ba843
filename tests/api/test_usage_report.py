"""The usage report over HTTP: what may be asked, page by page, as JSON and as a spreadsheet."""

from __future__ import annotations

import csv
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from io import StringIO
from typing import Any
from urllib.parse import urlencode

import pytest
from httpx import Response

from schemas.usage_report import UsageReport
from tests.api.client import Api, doors_to, problem_in
from tests.builders import DAY, NOW, add_customer, deployed, reverted, settle_events
from tests.stack import Databases, connected
from worker import inbox
from worker.clock import Clock
from worker.local.valkey import Valkey
from worker.storage.engine import API, WORKER

DAYS = ["2026-03-13", "2026-03-14", "2026-03-15"]


@pytest.fixture(scope="module")
def site(databases: Databases, valkey: Valkey) -> Iterator[Api]:
    """acme has two fixes on each of three days, of which one was taken back; globex has one."""
    with (
        databases.fresh() as database,
        connected(database.worker_url, WORKER) as engine,
        connected(database.api_url, API) as api_engine,
        inbox.connect(valkey.url) as redis,
    ):
        redis.flushall()
        add_customer(engine, "acme", credits=1)
        add_customer(engine, "globex")
        settle_events(engine, *(made(day, where) for day in range(3) for where in ("api", "shop")))
        settle_events(engine, reverted("fix-0-shop", at=NOW), deployed("secret", "globex"))
        yield Api(doors_to(api_engine, redis, Clock(NOW - datetime.now(UTC))), engine, redis)


def made(days_ago: int, where: str) -> Any:
    at = NOW - days_ago * DAY
    return deployed(f"fix-{days_ago}-{where}", at=at, repository=f"acme/{where}")


def ask(
    api: Api,
    query: Mapping[str, object] | None = None,
    *,
    customer_id: str = "acme",
    key: str | None = None,
    accept: str = "application/json",
) -> Response:
    path = f"/api/v1/customers/{customer_id}/usage/report?{urlencode(query or {})}"
    return api.ask("GET", path, api.signed(key) | {"Accept": accept})


def read(got: Response) -> UsageReport:
    assert got.status_code == 200, got.text
    return UsageReport.model_validate_json(got.content)


def counts(credited: int = 0, charged: int = 0, held: int = 0, reverted: int = 0) -> dict[str, int]:
    return {"credited": credited, "charged": charged, "held": held, "reverted": reverted}


def dollars(number: int) -> dict[str, object]:
    return {"amount": number * 100, "currency": "usd"}


def test_the_current_cycle_by_day_is_what_is_asked_for_without_a_word(site: Api) -> None:
    answer = ask(site).json()

    assert datetime.fromisoformat(answer.pop("as_of")) <= site.doors.clock.wall()
    assert answer == {
        "customer_id": "acme",
        "cycle": {"number": 1, "start": "2026-03-01T00:00:00Z", "end": "2026-04-01T00:00:00Z"},
        "window": None,
        "group_by": "day",
        "data": [
            {"day": DAYS[0], "fixes": counts(charged=2), "charged": dollars(58)},
            {"day": DAYS[1], "fixes": counts(charged=2), "charged": dollars(58)},
            {"day": DAYS[2], "fixes": counts(credited=1, reverted=1), "charged": dollars(0)},
        ],
        "total": {"fixes": counts(credited=1, charged=4, reverted=1), "charged": dollars(116)},
        "has_more": False,
        "cursor": None,
    }


@pytest.mark.parametrize(
    ("group_by", "keys"),
    [
        ("day", DAYS),
        ("repository", ["acme/api", "acme/shop"]),
        ("outcome", ["charged", "credited", "reverted"]),
    ],
)
def test_it_is_grouped_as_asked(site: Api, group_by: str, keys: list[str]) -> None:
    answer = ask(site, {"group_by": group_by}).json()

    assert [each[group_by] for each in answer["data"]] == keys
    assert {*answer["data"][0]} == {group_by, "fixes", "charged"}


def test_a_window_is_from_its_first_day_to_the_one_before_its_end(site: Api) -> None:
    answer = ask(site, {"from": DAYS[0], "to": DAYS[2]}).json()

    assert (answer["cycle"], answer["window"]) == (None, {"start": DAYS[0], "end": DAYS[2]})
    assert [each["day"] for each in answer["data"]] == DAYS[:2]
    assert answer["total"]["charged"] == dollars(116)


def test_one_repository_can_be_asked_for(site: Api) -> None:
    answer = read(ask(site, {"repository": "acme/shop", "group_by": "repository"}))

    assert [each.repository for each in answer.data] == ["acme/shop"]  # type: ignore[union-attr]
    assert answer.total.fixes.charged == 2


@pytest.mark.parametrize("group_by", ["day", "repository", "outcome"])
def test_page_by_page_there_is_every_group_once_and_the_same_total(
    site: Api, group_by: str
) -> None:
    query: dict[str, object] = {"group_by": group_by, "limit": 1}
    whole = read(ask(site, {"group_by": group_by}))
    found: list[object] = []
    while True:
        page = read(ask(site, query))
        found += page.data
        assert page.total == whole.total
        if not page.has_more:
            break
        query["cursor"] = page.cursor

    assert found == whole.data


def test_what_is_written_meanwhile_moves_no_page(api: Api) -> None:
    add_customer(api.engine)
    settle_events(api.engine, *(made(day, "shop") for day in (0, 2, 4)))
    first = read(ask(api, {"limit": 1}))
    settle_events(api.engine, *(made(day, "late") for day in (5, 3, 1)))

    second = read(ask(api, {"limit": 1, "cursor": first.cursor}))

    days = [each.day.day for page in (first, second) for each in page.data]  # type: ignore[union-attr]
    assert days == [11, 12]


WRONG: list[tuple[dict[str, object], str]] = [
    ({"cycle": 0}, "cycle"),
    ({"cycle": "one"}, "cycle"),
    ({"cycle": 2**31}, "cycle"),
    ({"from": "2026-03-01"}, "to"),
    ({"to": "2026-03-01"}, "from"),
    ({"from": "2026-03-02", "to": "2026-03-01"}, "to"),
    ({"from": "2026-03-01", "to": "2026-03-01"}, "to"),
    ({"from": "2025-01-01", "to": "2026-02-06"}, "to"),
    ({"from": "March", "to": "2026-03-01"}, "from"),
    ({"from": "2026-02-30", "to": "2026-03-01"}, "from"),
    ({"from": "2026-03-01T00:00:00Z", "to": "2026-03-02"}, "from"),
    ({"from": "1772323200", "to": "2026-03-02"}, "from"),
    ({"from": "2026-03-01", "to": "0000-01-01"}, "to"),
    ({"from": "2026-03-01", "to": "2026-03-02", "cycle": 1}, "cycle"),
    ({"group_by": "customer"}, "group_by"),
    ({"repository": ""}, "repository"),
    ({"repository": "a\0b"}, "repository"),
    ({"repository": "a'b"}, "repository"),
    ({"repository": "x" * 201}, "repository"),
    ({"limit": 0}, "limit"),
    ({"limit": 1001}, "limit"),
    ({"cursor": "nonsense"}, "cursor"),
]


@pytest.mark.parametrize(("query", "field"), WRONG, ids=str)
def test_what_is_wrong_is_named(site: Api, query: dict[str, object], field: str) -> None:
    problem = problem_in(ask(site, query), 422)

    assert problem["field"] == field
    assert problem["detail"].isprintable()


def cursor_of(place: str) -> str:
    return urlsafe_b64encode(place.encode()).decode()


@pytest.mark.parametrize(
    ("group_by", "place"),
    [
        ("day", '["day","yesterday"]'),
        ("day", '["repository","acme/api"]'),
        ("day", '["day",1]'),
        ("day", '["day"]'),
        ("repository", '["repository","a\\u0000b"]'),
        ("repository", '["repository","\\ud800"]'),
        ("outcome", '["outcome","free"]'),
        ("outcome", '["day","2026-03-13"]'),
    ],
)
def test_a_cursor_of_another_list_is_none(site: Api, group_by: str, place: str) -> None:
    got = ask(site, {"group_by": group_by, "cursor": cursor_of(place)})

    assert problem_in(got, 422)["field"] == "cursor"


@pytest.mark.parametrize("cycle", [2, 2**31 - 1])
def test_a_cycle_that_is_not_there_is_not_found(site: Api, cycle: int) -> None:
    problem = problem_in(ask(site, {"cycle": cycle}), 404)

    assert problem["detail"] == f"acme has no cycle {cycle}: the current one is 1."
    assert problem["field"] == "cycle"


def test_a_spreadsheet_has_the_groups_and_nothing_else(site: Api) -> None:
    got = ask(site, {"group_by": "repository"}, accept="text/csv")

    assert got.headers["Content-Type"].startswith("text/csv")
    assert list(csv.reader(StringIO(got.text))) == [
        ["repository", *(f"fixes_{name}" for name in counts()), "charged", "charged_currency"],
        ["acme/api", "1", "2", "0", "0", "58.00", "usd"],
        ["acme/shop", "0", "2", "0", "1", "58.00", "usd"],
    ]


@pytest.mark.parametrize("group_by", ["day", "repository", "outcome"])
def test_an_empty_spreadsheet_has_its_line_of_names(site: Api, group_by: str) -> None:
    got = ask(site, {"group_by": group_by, "repository": "acme/none"}, accept="text/csv")

    (names,) = csv.reader(StringIO(got.text))
    assert names[0] == group_by


def test_who_has_it_already_is_told_so_until_something_changes(api: Api) -> None:
    add_customer(api.engine)
    settle_events(api.engine, made(1, "shop"))
    path = "/api/v1/customers/acme/usage/report"
    first = api.ask("GET", path, api.signed())
    known = api.signed() | {"If-None-Match": first.headers["ETag"]}

    same = api.ask("GET", path, known)
    settle_events(api.engine, made(0, "shop"))
    changed = api.ask("GET", path, known)

    assert (same.status_code, same.content) == (304, b"")
    assert same.headers["Fixbill-As-Of"] > first.headers["Fixbill-As-Of"]
    assert changed.status_code == 200


def test_only_who_may_read_this_customer_gets_an_answer(site: Api) -> None:
    bound = site.key("read", customers=["acme"])

    assert ask(site, key=bound).status_code == 200
    problem_in(ask(site, customer_id="globex", key=bound), 404)
    problem_in(ask(site, key=site.key("publish")), 403)
    problem_in(ask(site, key="fbk_wrong"), 401)
    problem_in(ask(site, customer_id="nobody"), 404)


def test_the_report_and_the_current_usage_agree(site: Api) -> None:
    usage, report = site.usage().json(), ask(site, {"group_by": "repository"}).json()

    assert report["data"] == usage["repositories"]
    assert report["total"] == {"fixes": usage["fixes"], "charged": usage["money"]["charged"]}
    assert report["cycle"] == usage["cycle"]
