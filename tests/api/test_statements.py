"""Statements over HTTP: who sees which, page by page, as JSON and as a page for people."""

from __future__ import annotations

import re
from collections.abc import Iterator
from time import time
from urllib.parse import urlsplit

import pytest
from httpx import Response
from itsdangerous import TimestampSigner, URLSafeTimedSerializer
from sqlalchemy import Engine

from schemas.answers import Statement, StatementList
from tests.api.client import Api, problem_in
from tests.api.visiting import page_in
from tests.builders import (
    MARCH,
    MINUTE,
    NOW,
    add_customer,
    deployed,
    give_credits,
    reverted,
    settle_events,
)
from tests.stating import APRIL_CLOSED, close_march, pass_time, stated, write_statements
from worker.api.pages.statement import SHOWN_MAX, statement_page
from worker.billing.cycles import CycleStatus
from worker.links import GOOD_FOR
from worker.storage.statements import CycleKey, CycleLedger, Fixed, Moved, Paid
from worker.usage.statements import statement_of


@pytest.fixture
def site(api: Api) -> Api:
    """acme and globex have two statements each."""
    for customer_id in ("acme", "globex"):
        add_customer(api.engine, customer_id, credits=2)
        fixes = [deployed(f"{customer_id}-{number}", customer_id) for number in range(4)]
        settle_events(api.engine, *fixes)
    pass_time(api.engine, APRIL_CLOSED)
    write_statements(api.engine)
    return api


def ask(api: Api, path: str = "", customer_id: str = "acme", key: str | None = None) -> Response:
    return api.ask("GET", f"/api/v1/customers/{customer_id}/statements{path}", api.signed(key))


# The list.


def test_statements_are_listed_newest_first(site: Api) -> None:
    got = ask(site)

    answer = StatementList.model_validate_json(got.content)
    assert got.status_code == 200
    assert [each.number for each in answer.data] == [2, 1]
    assert (answer.has_more, answer.cursor) == (False, None)
    assert answer.data[1].money == stated(site.engine).money


def pages(api: Api, limit: int) -> Iterator[StatementList]:
    cursor = ""
    while True:
        page = StatementList.model_validate_json(ask(api, f"?limit={limit}{cursor}").content)
        yield page
        if not page.has_more:
            return
        cursor = f"&cursor={page.cursor}"


@pytest.mark.parametrize(("limit", "sizes"), [(1, [1, 1]), (2, [2]), (100, [2])])
def test_a_cursor_leads_through_all_of_them_once(site: Api, limit: int, sizes: list[int]) -> None:
    found = list(pages(site, limit))

    assert [len(each.data) for each in found] == sizes
    assert [one.number for each in found for one in each.data] == [2, 1]


def test_who_has_no_statement_yet_has_an_empty_list(api: Api) -> None:
    add_customer(api.engine)

    answer = ask(api).json()

    assert (answer["data"], answer["has_more"], answer["cursor"]) == ([], False, None)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("cursor=%21", "cursor"),
        ("cursor=YWJj", "cursor"),
        ("cursor=%C3%A4", "cursor"),
    ],
)
def test_a_list_that_cannot_be_is_refused(site: Api, query: str, field: str) -> None:
    assert problem_in(ask(site, f"?{query}"), 422)["field"] == field


# One of them.


def test_a_statement_is_answered_as_it_was_written(site: Api) -> None:
    got = ask(site, "/1")

    assert got.status_code == 200
    assert Statement.model_validate_json(got.content) == stated(site.engine)
    assert got.json()["fixes"] == {"credited": 2, "charged": 2, "reverted": 0}
    assert got.json()["money"]["closing"] == {"amount": 5800, "currency": "usd"}


@pytest.mark.parametrize("path", ["/3", "/3.html"])
def test_who_asks_for_one_too_early_learns_when_it_comes(site: Api, path: str) -> None:
    says = "1 to 2 are written, and 3 is expected at 2026-06-01 01:00Z"

    got = problem_in(ask(site, path), 404)

    assert got["detail"] == f"There is no statement 3 of acme: {says}."


@pytest.mark.parametrize(
    ("path", "status"),
    [("/0", 422), ("/2147483648", 422), ("/0.html", 422), ("/one", 404), ("/-1", 404)],
)
def test_what_is_no_number_is_no_statement(site: Api, path: str, status: int) -> None:
    problem_in(ask(site, path), status)


# Who may see them.


@pytest.mark.parametrize("path", ["", "/1", "/1.html"])
def test_a_statement_is_seen_with_a_key_of_its_customer_alone(site: Api, path: str) -> None:
    own, others = (site.key("read", customers=[each]) for each in ("acme", "globex"))

    unsigned = site.ask("GET", f"/api/v1/customers/acme/statements{path}")

    assert ask(site, path, key=own).status_code == 200
    problem_in(unsigned, 401)
    assert problem_in(ask(site, path, key=others), 404)["detail"] == "There is no customer acme."
    assert "scope read" in problem_in(ask(site, path, key=site.key("publish")), 403)["detail"]


@pytest.mark.parametrize("path", ["", "/1", "/1.html"])
def test_a_stranger_has_none(site: Api, path: str) -> None:
    got = problem_in(ask(site, path, "nobody"), 404)

    assert got["detail"] == "There is no customer nobody."


# The page.


def test_a_page_says_what_the_json_says(site: Api) -> None:
    got = ask(site, "/1.html")

    assert got.status_code == 200
    assert got.headers["Content-Type"] == "text/html; charset=utf-8"
    assert got.headers["Cache-Control"] == "no-store"
    for text in ("Statement 1", "1 March 2026 to 31 March 2026", "acme/shop", "$58.00", "is final"):
        assert text in got.text


def test_a_page_needs_nothing_from_elsewhere_and_no_script(site: Api) -> None:
    text = ask(site, "/1.html").text

    assert "<script" not in text
    assert re.findall(r'(?:src|href)=(?!"data:)|url\(|@import', text) == []


HOSTILE = "acme/<script>alert('&\"')</script>"


def of_march(*moved: Moved, status: CycleStatus = CycleStatus.CLOSED, **more: object) -> Statement:
    key = CycleKey("acme", 1)
    ledger = CycleLedger(key, MARCH.start, MARCH.end, "usd", moved, status=status)
    return statement_of(ledger._replace(**more), None)  # type: ignore[arg-type]


def test_nothing_in_a_name_becomes_markup() -> None:
    paid = [Paid("payment", 100, NOW, HOSTILE)]

    text = statement_page(of_march(repositories=[Fixed(HOSTILE, 1, 0, 0, 0)], paid=paid), HOSTILE)

    assert text.count("acme/&lt;script&gt;alert(&#39;&amp;&#34;&#39;)&lt;/script&gt;") == 4
    assert "<script" not in text


def test_a_long_list_is_cut_on_the_page_and_says_so() -> None:
    repositories = [Fixed(f"acme/{number:03}", 0, number, 0, 0) for number in range(150)]
    paid = [Paid("payment", 100, NOW, f"pi_{number:03}") for number in range(120)]

    text = statement_page(of_march(repositories=repositories, paid=paid), None)

    assert text.count("acme/") == text.count("pi_") == SHOWN_MAX
    assert "acme/149" in text
    assert "acme/049" not in text
    assert "pi_119" in text
    assert "pi_019" not in text
    assert re.search(r"The 100 with the most fixes of\s+150", text)
    assert "The newest 100 of 120" in text


def test_a_day_is_a_bar_of_what_was_credited_and_what_was_charged() -> None:
    days = [
        Fixed("2026-02-27", 1, 1, 0, 0),
        Fixed("2026-03-01", 1, 0, 0, 0),
        Fixed("2026-03-31", 2, 2, 0, 0),
    ]

    text = statement_page(of_march(days=days), None)

    assert "1 March: 1 by credits, 0 charged" in text
    assert "31 March: 2 by credits, 2 charged" in text
    assert "15 March: 0 by credits, 0 charged" in text
    bars = re.findall(r'<rect class="(\w+)".+?height="([\d.]+)"', text, re.DOTALL)
    assert bars == [("credited", "40.0"), ("credited", "80.0"), ("charged", "80.0")]
    assert "2 deployed on other days count" in text


def test_a_cycle_in_which_nothing_happened_has_a_page_too() -> None:
    text = statement_page(of_march(), "Acme")

    assert "No fix was counted" in text
    assert "<svg" not in text
    assert "What you owe" not in text


@pytest.mark.parametrize(
    ("status", "says"),
    [(CycleStatus.OPEN, "This cycle is running"), (CycleStatus.CLOSING, "may still change")],
)
def test_a_page_of_what_is_not_final_says_so(status: CycleStatus, says: str) -> None:
    text = statement_page(of_march(status=status), None)

    assert "Preview." in text
    assert says in text
    assert "is final" not in text


def test_a_credit_that_had_rolled_over_is_explained() -> None:
    text = statement_page(of_march(Moved("consume", 1, 1)), None)

    assert "had rolled over by then" in text


def test_credits_for_fixes_that_had_been_paid_are_named(api: Api, engine: Engine) -> None:
    add_customer(engine)
    give_credits(engine, "acme", 1, now=NOW)
    settle_events(engine, deployed(), now=NOW)
    settle_events(engine, reverted(), now=NOW + MINUTE)
    close_march(engine)

    text = ask(api, "/1.html").text

    assert "Given back for reverted fixes" in text
    assert "New, given by us" in text


# The link.


def linked(api: Api, number: int = 1) -> str:
    assert api.doors.links is not None
    return urlsplit(api.doors.links.to_statement("acme", number)).path


def test_whoever_was_sent_the_link_reads_the_page_without_a_key(site: Api) -> None:
    got = site.ask("GET", linked(site))

    assert got.status_code == 200
    assert got.text == ask(site, "/1.html").text


def test_a_link_leads_to_one_statement_and_to_nothing_else(site: Api) -> None:
    path = linked(site)
    token = path.rsplit("/", 1)[1]

    missing = site.ask("GET", linked(site, 3))

    assert "no statement 3" in page_in(missing, 404)
    page_in(site.ask("GET", f"/pay/{token}"), 404)
    # Not its last character: that has bits which no byte of the signature uses.
    page_in(site.ask("GET", f"{path[:-2]}{'A' if path[-2] != 'A' else 'B'}{path[-1]}"), 404)
    page_in(site.ask("GET", "/statement/token"), 404)


def test_a_link_for_a_payment_shows_no_statement(site: Api) -> None:
    assert site.doors.links is not None
    token = site.doors.links.to_charge("acme", "1").rsplit("/", 1)[1]

    page_in(site.ask("GET", f"/statement/{token}"), 404)


def test_a_link_is_good_for_a_week(site: Api) -> None:
    class Past(TimestampSigner):
        def get_timestamp(self) -> int:
            return int(time() - GOOD_FOR.total_seconds() - 60)

    assert site.doors.links is not None
    signer = URLSafeTimedSerializer(site.doors.links.secret, salt="statement", signer=Past)
    old = signer.dumps(["acme", 1])
    assert isinstance(old, str)

    assert "not good" in page_in(site.ask("GET", f"/statement/{old}"), 404)


def test_where_no_customer_could_follow_a_link_there_is_no_page(site: Api) -> None:
    nowhere = site.behind(links=None)

    page_in(nowhere.ask("GET", linked(site)), 503)


def test_a_cycle_that_is_no_month_has_its_own_days() -> None:
    days = [Fixed("2026-03-15", 1, 0, 0, 0)]

    text = statement_page(of_march(starts_at=NOW, days=days), None)

    assert "15 March 2026 to 31 March 2026" in text
    assert text.count("<title>") == 1 + 17
