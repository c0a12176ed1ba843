"""The operator's page: who may see it, what it counts, and where its numbers lead."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from httpx import Response
from redis import Redis
from sqlalchemy import Table, insert, update

from tests.api.client import NOWHERE, Api, Headers
from tests.api.visiting import page_in, settle_lively
from tests.builders import (
    HOUR,
    NOW,
    add_customer,
    deployed,
    dispute,
    owe,
    publish_all,
    rows_of,
    settle_events,
)
from tests.stack import connected
from worker.api.pages.pile import ACTS, TITLES
from worker.api.pages.signals import AMBER, GREEN, RED, RULES, tone_of
from worker.cli.main import fixbill
from worker.customers import CANCELLED
from worker.due import DUE
from worker.storage import tables
from worker.storage.collecting import switch
from worker.storage.engine import API
from worker.storage.piles import DUE_PILES, LISTED_MAX, PILES

PAGES = ["", "/inbox", "/due/held_fix"]
PAGES += [f"/due/{kind}" for kind in DUE_PILES]
PAGES += [f"/{name}" for name in PILES if name not in DUE_PILES]


def basic(password: str, user: str = "anyone") -> Headers:
    return {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


def ask(api: Api, path: str = "", key: str | None = None) -> Response:
    return api.ask("GET", f"/ops{path}", basic(key or api.admin))


def figures(page: str) -> dict[str, tuple[str, str]]:
    """Tone and value of every number, by its label."""
    rows = re.findall(
        r'<tr class="(\w+)"><th scope="row">(.*?)(?:<span.*?)?</th>(.*?)</tr>', page, re.DOTALL
    )
    return {
        label.strip(): (tone, re.sub(r"<[^>]+>|[●▲\s]", "", value)) for tone, label, value in rows
    }


@pytest.fixture(scope="module")
def site(shared_api: Api) -> Api:
    settle_lively(shared_api.engine)
    return shared_api


# Who may see it.


@pytest.mark.parametrize("path", PAGES)
def test_without_an_operators_key_nothing_is_shown(site: Api, path: str) -> None:
    keys = ["wrong", site.key("read", "publish", "revert"), site.key("admin", customers=["acme"])]
    asked: list[Headers] = [{}, site.signed(), *map(basic, keys)]
    asked += [{"Authorization": "Basic ä"}, {"Authorization": "Basic !"}]

    for headers in asked:
        got = site.ask("GET", f"/ops{path}", headers)

        assert "acme" not in page_in(got, 401)
        assert got.headers["WWW-Authenticate"].startswith("Basic ")


@pytest.mark.parametrize("path", PAGES)
def test_with_one_every_page_is_shown_and_in_nobodys_frame(site: Api, path: str) -> None:
    got = ask(site, path)

    page_in(got)
    assert got.headers["Content-Security-Policy"].endswith("frame-ancestors 'none'")


@pytest.mark.parametrize("path", ["/no", "/due/no", "/due/fee", "/charge", "/due/contests"])
def test_there_is_no_other_page(site: Api, path: str) -> None:
    page_in(ask(site, path), 404)


# What it counts.


def test_every_kind_that_falls_due_is_on_it(site: Api) -> None:
    shown = figures(page_in(ask(site)))

    assert {kind.replace("_", " ").capitalize() for kind in DUE} <= shown.keys()
    assert DUE_PILES.keys() == DUE.keys() - {"held_fix", "reconcile", "fee", "retention"}


def test_every_number_leads_to_a_page(site: Api) -> None:
    links = set(re.findall(r'href="(ops[^"]*)"', page_in(ask(site))))

    assert len(links) > 20
    for link in links:
        page_in(ask(site, link.removeprefix("ops")))


def test_numbers_are_those_of_the_tables(site: Api) -> None:
    shown = figures(page_in(ask(site)))
    open_charges = rows_of(site.engine, tables.charges, status="open")

    assert shown["Open"] == (GREEN, str(len(open_charges)))
    assert shown["Entries"] == (AMBER, "2")
    assert shown["Unreadable"] == (GREEN, "2")
    assert shown["Customers"] == (GREEN, "5")
    assert shown["Collecting"] == (GREEN, "on")
    assert shown["Owed to us"][1] == f"${sum(row['amount'] for row in open_charges) // 100:,}.00"
    for label in ("Credits that do not add up", "Money that does not add up", "Books below zero"):
        assert shown[label] == (GREEN, "0")


def test_a_list_has_the_command_for_each_row(site: Api) -> None:
    (acme,) = rows_of(site.engine, tables.charges, customer_id="acme", status="open")
    entries = rows_of(site.engine, tables.quarantine)

    assert f"fixbill explain {acme['charge_id']}" in page_in(ask(site, "/charges?status=open"))
    assert acme["charge_id"] not in page_in(ask(site, "/charges?status=declined"))
    assert f"fixbill quarantine show {entries[0]['quarantine_id']}" in ask(site, "/quarantine").text
    assert "Nothing." in page_in(ask(site, "/quarantine?reason=conflict"))


@pytest.mark.parametrize("name", sorted({*ACTS}))
def test_every_command_is_one_of_ours(name: str) -> None:
    for act in ACTS[name]:
        _, *words = act.split()
        command = fixbill.get_command(
            fixbill.make_context("fixbill", [], resilient_parsing=True), words[0]
        )
        assert command is not None
        if hasattr(command, "commands"):
            assert words[1] in command.commands


def test_every_pile_has_a_title_and_commands() -> None:
    assert ACTS.keys() == {*PILES, "inbox", "held_fix"}
    assert TITLES.keys() == {*PILES, "inbox"} - DUE_PILES.keys()


def test_a_long_list_is_cut_and_says_so(api: Api) -> None:
    waiting = {"type": "x", "livemode": False, "body": b"", "received_at": NOW, "due_at": NOW}
    with api.engine.begin() as tx:
        rows = [{**waiting, "event_id": f"evt_{n}"} for n in range(LISTED_MAX + 1)]
        tx.execute(insert(tables.stripe_events), rows)

    page = page_in(ask(api, "/due/stripe_event"))

    assert figures(page_in(ask(api)))["Stripe event"] == (AMBER, "101")
    assert page.count("evt_") == LISTED_MAX
    assert "there may be more" in page


# What it says of the inbox.


def test_the_inbox_is_told_with_its_age_and_the_pace_of_settling(api: Api) -> None:
    add_customer(api.engine)
    publish_all(api.redis, [deployed("before")])
    api.settled()
    first = page_in(ask(api))
    publish_all(api.redis, [deployed("fix-1"), deployed("fix-2")])

    waiting = figures(page_in(ask(api)))
    api.settled()
    (again,) = re.findall(r'url=ops(\?since=[\d.]+-1)"', first)
    settled = figures(page_in(ask(api, again)))

    assert waiting["In the inbox"] == (GREEN, "2")
    assert waiting["Oldest of them"][1] != "–"
    assert figures(first)["Settled"] == (GREEN, "–")
    assert re.fullmatch(r"[\d.,]+/s", settled["Settled"][1])
    assert settled["Settled"][1] != "0.0/s"
    assert settled["Accepted to settled"][1] != "–"
    assert settled["In the inbox"] == (GREEN, "0")


@pytest.mark.parametrize("since", ["", "x", "1-1", "9" * 40, "99999999999.000-0", "1.000-999999"])
def test_what_is_no_earlier_look_makes_no_pace(site: Api, since: str) -> None:
    assert figures(page_in(ask(site, f"?since={since[:40]}")))["Settled"] == (GREEN, "–")


def test_while_the_inbox_is_away_the_rest_is_shown(site: Api, redis_away: Redis) -> None:
    away = site.behind(redis=redis_away)

    shown = figures(page_in(ask(away)))

    assert shown["Inbox"] == (RED, "notreadable")
    assert shown["Customers"] == (GREEN, "5")
    page_in(ask(away, "/inbox"), 503)


def test_while_the_database_is_away_there_is_a_page_that_says_so(site: Api) -> None:
    with connected(f"postgresql://nobody:x@{NOWHERE}/x", API) as nothing:
        away = site.behind(engine=nothing)

        page_in(ask(away, key=site.admin), 503)


# What is amiss.


def parked_charge(api: Api) -> None:
    owe(api.engine)
    change(api, tables.charges, status="frozen", frozen_at=NOW, asked_amount=2900)
    change(api, tables.charges, status="parked")


def change(api: Api, table: Table, **values: object) -> None:
    with api.engine.begin() as tx:
        tx.execute(update(table).values(values))


def stopped(api: Api) -> None:
    with api.engine.begin() as tx:
        switch(tx, stopped_at=NOW, why="too many declines")


def disputed(api: Api) -> None:
    row = dispute()
    with api.engine.begin() as tx:
        tx.execute(
            insert(tables.disputes).values({name: getattr(row, name) for name in row.__slots__})
        )


def drifted(api: Api) -> None:
    row = {"kind": "missing", "subject": "pi_1", "evidence": {"amount": 1}, "found_at": NOW}
    with api.engine.begin() as tx:
        tx.execute(insert(tables.drifts).values(row))


def contested(api: Api) -> None:
    settle_events(api.engine, deployed())
    row = {"customer_id": "acme", "contest_id": "con_1", "fix_id": "fix-1", "opened_at": NOW}
    with api.engine.begin() as tx:
        tx.execute(insert(tables.contests).values(**row, reason="<b>wrong</b>"))


AMISS: list[tuple[Callable[[Api], None], str, str]] = [
    (parked_charge, "Parked", RED),
    (stopped, "Collecting", RED),
    (disputed, TITLES["disputes"], AMBER),
    (drifted, TITLES["drifts"], AMBER),
    (contested, TITLES["contests"], AMBER),
    (
        lambda api: change(api, tables.books, parked_at=NOW, parked_why="breaker"),
        TITLES["customers"],
        AMBER,
    ),
    (lambda api: change(api, tables.books, due_at=NOW - 2 * HOUR), "Cycle", AMBER),
]


@pytest.mark.parametrize(("spoil", "label", "tone"), AMISS, ids=[label for _, label, _ in AMISS])
def test_what_is_amiss_is_said_first(
    api: Api, spoil: Callable[[Api], None], label: str, tone: str
) -> None:
    add_customer(api.engine)
    before = figures(page_in(ask(api)))
    spoil(api)

    page = page_in(ask(api))

    assert "Nothing is amiss." not in page
    assert before.get(label, (GREEN,))[0] == GREEN
    assert figures(page)[label][0] == tone
    assert f'<p class="summary {tone}">' in page
    assert "<b>wrong" not in page_in(ask(api, "/contests"))


def test_who_has_left_is_not_parked(api: Api) -> None:
    add_customer(api.engine, parked_at=NOW, parked_why=CANCELLED)

    assert "Nothing is amiss." in page_in(ask(api))


def test_unclear_answers_of_stripe_are_a_share_of_enough(api: Api) -> None:
    key = owe_many(api)
    attempts_of(api, key, ["succeeded"] * 8 + ["unknown"] * 2)
    few = figures(page_in(ask(api)))["Unclear answers"]
    attempts_of(api, key, ["later"], first=11)
    many = figures(page_in(ask(api)))["Unclear answers"]

    assert (few, many) == ((GREEN, "20%"), (AMBER, "27%"))
    assert figures(page_in(ask(api)))["Collected in the last hour"] == (GREEN, "$232.00")


def owe_many(api: Api) -> str:
    add_customer(api.engine)
    return owe(api.engine).charge_id


def attempts_of(api: Api, charge_id: str, answers: list[str], first: int = 1) -> None:
    at = api.doors.clock.wall() - timedelta(minutes=1)
    row = {"customer_id": "acme", "charge_id": charge_id, "why": "scheduled", "livemode": False}
    row |= {"parameters": {"amount": 2900, "currency": "usd"}, "started_at": at, "answered_at": at}
    with api.engine.begin() as tx:
        for number, answer in enumerate(answers, first):
            tx.execute(
                insert(tables.attempts).values(
                    **row, attempt_id=f"att_{number}", number=number, answer=answer
                )
            )


# The rules.

ALERTS = Path(__file__).parents[2] / "deploy" / "prometheus" / "alerts.yml"


def alerts() -> Iterator[tuple[str, dict[str, str]]]:
    for rule in yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]:
        yield rule["alert"], {"expr": rule["expr"], "severity": rule["labels"]["severity"]}


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.alert])
def test_a_rule_is_that_of_its_alert(name: str) -> None:
    above, tone, alert = RULES[name]
    told = dict(alerts())[str(alert)]

    assert re.search(rf"> {above:g}(?![\d.])", told["expr"])
    assert tone == {"page": RED, "ticket": AMBER}[told["severity"]]


def test_a_number_has_its_tone_above_the_threshold_alone() -> None:
    assert tone_of("inbox_age", 60) == GREEN
    assert tone_of("inbox_age", 60.1) == RED
