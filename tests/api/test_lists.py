"""What all lists of a customer have in common: pages, cursors, CSV, tags, and who sees them."""

from __future__ import annotations

import csv
from base64 import urlsafe_b64encode
from collections import Counter
from io import StringIO

import pytest

from tests.api.client import Api, problem_in
from tests.api.listing import ask, listed, pages, told
from tests.builders import (
    HOUR,
    MINUTE,
    NOW,
    add_customer,
    deployed,
    give_credits,
    one_row,
    reverted,
    settle_events,
    usd,
)
from tests.usage.conftest import ask_card, fill, pay
from worker.storage import tables

KEYS = {"transactions": "seq", "fixes": "fix_id", "charges": "charge_id"}
KEYS["quarantine"] = "quarantine_id"
LISTS = list(KEYS)
ANSWERS = [*LISTS, "balance", "entitlement", "fixes/paid-1"]


@pytest.fixture(scope="module")
def site(shared_api: Api) -> Api:
    """In which everything has happened once, and some events could not be settled."""
    fill(shared_api.engine)
    for number in range(3):
        spoil(shared_api, f"spoilt-{number}")
    return shared_api


def spoil(api: Api, fix_id: str, customer_id: str = "acme") -> None:
    """One event id for two bodies."""
    both = [deployed(fix_id, customer_id, commit_sha=commit) for commit in ("aaaaaaa", "bbbbbbb")]
    settle_events(api.engine, *both)


@pytest.mark.parametrize("path", LISTS)
def test_pages_of_any_size_hold_every_row_once_in_the_same_order(site: Api, path: str) -> None:
    whole = listed(site, path)

    found = list(pages(site, path, limit=2))

    assert len(whole) > 1
    assert [row for page in found for row in page] == whole
    assert [len(page) for page in found[:-1]] == [2] * (len(found) - 1)
    assert max(Counter(row[KEYS[path]] for row in whole).values()) == 1


@pytest.mark.parametrize("path", LISTS)
def test_without_a_limit_a_page_has_twenty_rows_at_most(site: Api, path: str) -> None:
    assert told(site, path)["data"] == listed(site, path)[:20]


@pytest.mark.parametrize("path", LISTS)
def test_a_list_comes_as_a_spreadsheet_too(site: Api, path: str) -> None:
    got = ask(site, f"{path}?limit=2", accept="text/csv")

    rows = list(csv.DictReader(StringIO(got.text)))
    assert got.headers["Content-Type"].startswith("text/csv")
    assert [row[KEYS[path]] for row in rows] == [
        str(each[KEYS[path]]) for each in told(site, f"{path}?limit=2")["data"]
    ]
    if len(listed(site, path)) > 2:
        assert told(site, f"{path}?limit=2&cursor={got.headers['Fixbill-Cursor']}")["data"]


@pytest.mark.parametrize("path", ["transactions", "fixes", "charges", "quarantine", "fixes/paid-1"])
def test_who_has_the_newest_already_is_told_so(site: Api, path: str) -> None:
    first = ask(site, path)

    again = ask(site, path, if_none_match=first.headers["ETag"])

    assert (again.status_code, again.content) == (304, b"")
    assert "Fixbill-As-Of" in again.headers


@pytest.mark.parametrize("path", ANSWERS)
def test_every_answer_says_how_fresh_it_is(site: Api, path: str) -> None:
    got = ask(site, path)

    assert got.json()["as_of"]
    assert got.headers["Fixbill-As-Of"]


@pytest.mark.parametrize("path", ANSWERS)
def test_a_customer_is_seen_with_a_key_of_theirs_alone(site: Api, path: str) -> None:
    own, others = (site.key("read", customers=[each]) for each in ("acme", "globex"))

    assert ask(site, path, key=own).status_code == 200
    assert problem_in(ask(site, path, key=others), 404)["detail"] == "There is no customer acme."
    assert problem_in(ask(site, path, "nobody"), 404)["detail"] == "There is no customer nobody."
    problem_in(ask(site, path, key=site.key("publish")), 403)
    problem_in(site.ask("GET", f"/api/v1/customers/acme/{path}"), 401)


@pytest.mark.parametrize("path", LISTS)
def test_a_list_holds_nothing_of_others(site: Api, path: str) -> None:
    spoil(site, "of-globex", "globex")
    mine = {row[KEYS[path]] for row in listed(site, path)}
    theirs = told(site, path, "globex")["data"]

    assert theirs
    assert "of-globex" not in str(listed(site, path))
    if path != "transactions":  # every ledger is numbered from 1
        assert not mine & {row[KEYS[path]] for row in theirs}


@pytest.mark.parametrize("name", ["g-1", "nothing"])
@pytest.mark.parametrize("kind", ["fix", "charge"])
def test_what_others_have_is_as_unknown_as_what_nobody_has(site: Api, kind: str, name: str) -> None:
    got = problem_in(ask(site, f"{kind}{'es' if kind == 'fix' else 's'}/{name}"), 404)

    assert got["detail"] == f"There is no {kind} {name} of acme."


def test_a_charge_of_others_is_as_unknown_as_none(site: Api) -> None:
    theirs = told(site, "charges", "globex")["data"][0]["charge_id"]

    assert told(site, f"charges/{theirs}", "globex")["charge_id"] == theirs
    got = problem_in(ask(site, f"charges/{theirs}"), 404)
    assert got["detail"] == f"There is no charge {theirs} of acme."


def cursor_of(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode()


CURSORS = [
    "!",
    "YWJj",
    cursor_of("{}"),
    cursor_of("[]"),
    cursor_of("[null]"),
    cursor_of("[0]"),
    cursor_of("[1e3]"),
    cursor_of("[true]"),
    cursor_of(f"[{2**63}]"),
    cursor_of(f"[{10**300}]"),
    cursor_of('["' + "\\u0000" + '"]'),
    cursor_of('["\\ud800"]'),
    cursor_of('["x", "fix-1"]'),
    cursor_of('["2026-03-01T00:00:00", "fix-1"]'),
    cursor_of('["0001-01-01T00:00:00+14:00", "fix-1"]'),
    cursor_of('["2026-03-01T00:00:00Z", "\\u0000"]'),
    cursor_of("[" * 150),
]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("cursor", CURSORS)
def test_a_cursor_of_no_list_is_refused(site: Api, path: str, cursor: str) -> None:
    assert problem_in(ask(site, f"{path}?cursor={cursor}"), 422)["field"] == "cursor"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("transactions", f"[{2**63 - 1}]"),
        ("fixes", '["9999-12-31T23:59:59Z", "z"]'),
        ("charges", '["9999-12-31T23:59:59Z", "z"]'),
        ("quarantine", '["z"]'),
    ],
)
def test_a_cursor_beyond_the_first_row_is_one_of_the_beginning(
    site: Api, path: str, text: str
) -> None:
    assert told(site, f"{path}?cursor={cursor_of(text)}")["data"] == told(site, path)["data"]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("fixes?limit=0", "limit"),
        ("fixes?limit=1001", "limit"),
        ("fixes?outcome=paid", "outcome"),
        ("fixes?repository=%00", "repository"),
        ("fixes?from=2026-03-01", "from"),
        ("fixes?from=1700000000", "from"),
        ("fixes?to=2026-03-01T00:00:00", "to"),
        ("fixes?to=9999-12-31T23:59:59-14:00", "to"),
        ("fixes/%00", "fix_id"),
        (f"fixes/{'x' * 129}", "fix_id"),
        ("charges?status=lost", "status"),
        ("charges/%20", "charge_id"),
        ("transactions?kind=gift", "kind"),
        ("transactions?cycle=0", "cycle"),
        ("transactions?cycle=2147483648", "cycle"),
        ("transactions?fix_id=%00", "fix_id"),
        ("transactions?charge_id=", "charge_id"),
        ("quarantine?limit=x", "limit"),
        ("balance?at=now", "at"),
        ("balance?at=2026-03-15T12:00:00", "at"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_its_field(site: Api, path: str, field: str) -> None:
    assert problem_in(ask(site, path), 422)["field"] == field


@pytest.mark.parametrize("path", LISTS)
def test_what_is_written_between_two_pages_moves_no_row(api: Api, path: str) -> None:
    add_customer(api.engine, credits=2)
    for number in range(3):
        happen(api, f"old-{number}", number)
    old = [row[KEYS[path]] for row in listed(api, path)]

    seen = []
    for number, page in enumerate(pages(api, path, limit=2)):
        seen += [row[KEYS[path]] for row in page]
        if number < 4:
            happen(api, f"new-{number}", number)

    assert len(old) > 2
    assert [each for each in seen if each in old] == old
    assert max(Counter(seen).values()) == 1


def happen(api: Api, name: str, number: int) -> None:
    """Something of every kind: of now, and of before what is there."""
    give_credits(api.engine, "acme", 1, name, now=NOW)
    spoil(api, f"{name}-spoilt")
    for age in (MINUTE, HOUR + number * MINUTE, 3 * HOUR):
        settle_events(api.engine, deployed(f"{name}-{age.seconds}", at=NOW - age))
    settle_events(api.engine, reverted(f"{name}-{MINUTE.seconds}", at=NOW))
    key = ask_card(api.engine, "acme")  # so that the next fix opens another charge
    asked = one_row(api.engine, tables.charges, charge_id=key.charge_id)["asked_amount"]
    pay(api.engine, key, f"pi_{name}", usd(0, asked))
