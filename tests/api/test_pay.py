"""Links to add a card and to authenticate a payment: who gets one, and what the pages do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from time import time
from urllib.parse import urlsplit

import pytest
from httpx import Response
from itsdangerous import TimestampSigner, URLSafeTimedSerializer
from sqlalchemy import insert

from tests.api.client import NOWHERE, Api, problem_in
from tests.api.visiting import page_in
from tests.builders import (
    add_customer,
    charge,
    deployed,
    give_credits,
    one_row,
    outcomes,
    settle_events,
)
from tests.cli.running import somebody
from tests.collecting import Case, assert_paid_once
from tests.sandbox.browser import led_to, submit
from tests.sandbox.sandbox_process import RunningSandbox
from worker.billing.charges import ChargeStatus
from worker.links import GOOD_FOR, Links
from worker.storage import tables
from worker.stripe_gateway import StripeGateway

PUBLIC = "https://billing.example"
SECRET = "what signs the links of these tests"


@pytest.fixture
def site(api: Api, stripe: StripeGateway) -> Api:
    """The API where Stripe and the customers' browsers reach it."""
    return api.behind(stripe=stripe, links=Links(PUBLIC, SECRET))


@pytest.fixture
def asked(owing: Callable[..., Case]) -> Case:
    """A customer whose bank wants to see them before it pays."""
    case = owing("pm_card_authenticationRequired")
    assert case.collect() is ChargeStatus.ACTION_REQUIRED
    return case


def setup(api: Api, customer_id: str, key: str | None = None) -> Response:
    return api.ask("POST", f"/api/v1/customers/{customer_id}/setup", api.signed(key))


def recovery(api: Api, customer_id: str, charge_id: str, key: str | None = None) -> Response:
    path = f"/api/v1/customers/{customer_id}/charges/{charge_id}/recovery"
    return api.ask("POST", path, api.signed(key))


def page_of(api: Api, case: Case) -> str:
    """The path of a fresh recovery link."""
    got = recovery(api, *case.key)
    assert got.status_code == 201, got.text
    url = str(got.json()["url"])
    assert url.startswith(f"{PUBLIC}/pay/")
    return urlsplit(url).path


# A card.


def test_a_setup_link_leads_to_stripe_and_says_what_waits(
    site: Api, sandbox: RunningSandbox
) -> None:
    customer_id = add_customer(site.engine, somebody(), plan="trial", card=False)
    settle_events(site.engine, *(deployed(f"fix-{n}", customer_id) for n in range(7)))

    got = setup(site, customer_id)

    assert got.status_code == 201
    answer = got.json()
    assert answer["url"].startswith(sandbox.url)
    assert answer["held"] == {
        "fixes": 7,
        "by_credits": 5,
        "by_money": 2,
        "amount": {"amount": 5800, "currency": "usd"},
        "price_per_fix": {"amount": 2900, "currency": "usd"},
        "spending_cap": None,
    }
    assert set(outcomes(site.engine, customer_id).values()) == {"held"}


def test_every_setup_link_is_of_the_same_customer_at_stripe(site: Api) -> None:
    customer_id = add_customer(site.engine, somebody(), card=False)

    answers = [setup(site, customer_id) for _ in range(2)]
    kept = one_row(site.engine, tables.customers, customer_id=customer_id)["stripe_customer"]
    answers.append(setup(site, customer_id))

    assert [each.status_code for each in answers] == [201] * 3
    again = one_row(site.engine, tables.customers, customer_id=customer_id)["stripe_customer"]
    assert kept is not None
    assert kept == again


def test_credits_that_a_first_card_brings_are_not_promised_twice(site: Api) -> None:
    customer_id = add_customer(site.engine, somebody(), plan="trial", card=False)
    give_credits(site.engine, customer_id, 1, "billing_added", source="billing_added")
    settle_events(site.engine, *(deployed(f"fix-{n}", customer_id) for n in range(3)))

    held = setup(site, customer_id).json()["held"]

    assert (held["fixes"], held["by_credits"], held["by_money"]) == (2, 0, 2)


def test_while_stripe_is_away_there_is_no_setup_link(api: Api) -> None:
    add_customer(api.engine, card=False)

    got = setup(api, "acme")

    assert "Stripe" in problem_in(got, 502)["detail"]
    assert one_row(api.engine, tables.customers)["stripe_customer"] is None


@pytest.mark.parametrize(("outcome", "says"), [("saved", "is saved"), ("cancelled", "No card")])
def test_the_browser_lands_on_a_page_that_says_what_happened(
    shared_api: Api, outcome: str, says: str
) -> None:
    got = shared_api.ask("GET", f"/setup/{outcome}")

    assert got.status_code == 200
    assert says in got.text
    assert got.headers["Cache-Control"] == "no-store"


def test_there_is_no_other_page_of_that_kind(shared_api: Api) -> None:
    page_in(shared_api.ask("GET", "/setup/failed"), 404)


# Who gets a link.


def test_nobody_gets_a_link_without_a_key(site: Api, asked: Case) -> None:
    customer_id, charge_id = asked.key
    paths = [f"/{customer_id}/setup", f"/{customer_id}/charges/{charge_id}/recovery"]

    for path in paths:
        problem_in(site.ask("POST", f"/api/v1/customers{path}"), 401)


@pytest.mark.parametrize("scope", ["read", "publish", "revert"])
def test_a_link_needs_the_scope_admin(site: Api, asked: Case, scope: str) -> None:
    key = site.key(scope)

    for got in (setup(site, "acme", key), recovery(site, *asked.key, key)):
        assert "scope admin" in problem_in(got, 403)["detail"]


def test_a_key_makes_links_for_its_own_customers_and_knows_no_others(
    site: Api, asked: Case
) -> None:
    own, others = (site.key("admin", customers=[each]) for each in ("acme", "globex"))

    allowed = [setup(site, "acme", own), recovery(site, *asked.key, own)]
    refused = [setup(site, "acme", others), recovery(site, *asked.key, others)]
    unknown = [setup(site, "globex", others), recovery(site, "globex", "ch_1", own)]

    assert [each.status_code for each in allowed] == [201, 201]
    for got in refused:
        assert problem_in(got, 404)["detail"] == "There is no customer acme."
    for got in unknown:
        assert problem_in(got, 404)["detail"] == "There is no customer globex."


def test_a_charge_is_only_found_under_its_own_customer(site: Api, asked: Case) -> None:
    add_customer(site.engine, "globex")

    for customer_id, charge_id in (("globex", asked.key.charge_id), ("acme", "ch_unknown")):
        got = recovery(site, customer_id, charge_id)

        assert problem_in(got, 404)["detail"] == f"There is no charge {charge_id}."


def test_where_no_customer_could_follow_a_link_none_is_made(api: Api, asked: Case) -> None:
    nowhere = api.behind(links=None)

    for got in (setup(nowhere, "acme"), recovery(nowhere, *asked.key)):
        assert "PUBLIC_URL" in problem_in(got, 503)["detail"]
    for method in ("GET", "POST"):
        assert "PUBLIC_URL" in page_in(nowhere.ask(method, "/pay/token"), 503)


def test_a_charge_that_nobody_must_authenticate_has_no_link(site: Api, case: Case) -> None:
    before = recovery(site, *case.key)
    case.collect()
    after = recovery(site, *case.key)

    assert "is open" in problem_in(before, 409)["detail"]
    assert "is paid" in problem_in(after, 409)["detail"]


# The page.


def test_a_page_shows_the_amount_and_a_button_and_charges_nothing(site: Api, asked: Case) -> None:
    path = page_of(site, asked)

    pages = [site.ask("GET", path) for _ in range(3)]

    for got in pages:
        assert got.status_code == 200
        assert "$29.00" in got.text
        assert "<button>" in got.text
        assert '<meta name="referrer" content="no-referrer">' in got.text
        assert got.headers["Cache-Control"] == "no-store"
    assert asked.paid_at_stripe() == []


def test_whoever_authenticates_pays_once_and_is_led_back(site: Api, asked: Case) -> None:
    path = page_of(site, asked)

    at_the_bank = led_to(site.ask("POST", path))
    back = led_to(submit(at_the_bank, outcome="complete"))
    done = site.ask("GET", urlsplit(back).path)
    asked.hear(*asked.events("payment_intent.succeeded"))
    afterwards = [site.ask("POST", path), site.ask("GET", path)]

    assert at_the_bank.startswith(asked.sandbox.url)
    assert back.startswith(f"{PUBLIC}{path}/done")
    for page in (done, *afterwards):
        assert "this is paid" in page.text
        assert "<button>" not in page.text
    assert_paid_once(asked)
    assert [row["why"] for row in asked.attempts()] == ["scheduled", "manual"]


def test_whoever_fails_to_authenticate_can_try_again(site: Api, asked: Case) -> None:
    path = page_of(site, asked)

    back = led_to(submit(led_to(site.ask("POST", path)), outcome="fail"))
    failed = site.ask("GET", urlsplit(back).path)
    again = led_to(submit(led_to(site.ask("POST", urlsplit(back).path)), outcome="complete"))

    assert "<button>" in failed.text
    assert "redirect_status=succeeded" in again
    assert asked.paid_at_stripe() == [2900]


def test_while_stripe_is_away_a_click_says_so_and_the_charge_stays_payable(
    site: Api, asked: Case
) -> None:
    path = page_of(site, asked)
    away = site.behind(stripe=StripeGateway("sk_test_nowhere", f"http://{NOWHERE}", retries=0))

    answers = [away.ask("POST", path), away.ask("GET", f"{path}/done")]

    for got in answers:
        assert "Stripe gives no answer" in page_in(got, 502)
    assert asked.charge["status"] == "action_required"
    assert led_to(site.ask("POST", path)).startswith(asked.sandbox.url)


def earlier(ago: timedelta) -> type[TimestampSigner]:
    """What signed so long ago."""

    class Earlier(TimestampSigner):
        def get_timestamp(self) -> int:
            return int(time() - ago.total_seconds())

    return Earlier


def signed(case: Case, ago: timedelta, secret: str = SECRET, purpose: str = "pay") -> str:
    signer = URLSafeTimedSerializer(secret, salt=purpose, signer=earlier(ago))
    return str(signer.dumps(list(case.key)))


MINUTE = timedelta(minutes=1)


def test_a_link_is_good_for_a_week(site: Api, asked: Case) -> None:
    fresh = site.ask("GET", f"/pay/{signed(asked, GOOD_FOR - MINUTE)}")
    stale = site.ask("GET", f"/pay/{signed(asked, GOOD_FOR + MINUTE)}")

    assert fresh.status_code == 200
    assert "ask for a new one" in page_in(stale, 404)


FORGED: dict[str, Callable[[Case], str]] = {
    "another secret": lambda case: signed(case, MINUTE, secret="guessed"),
    "another purpose": lambda case: signed(case, MINUTE, purpose="setup"),
    "half a signature": lambda case: signed(case, MINUTE)[:-10],
    "a changed charge": lambda case: "x" + signed(case, MINUTE),
    "no signature": lambda case: case.key.charge_id,
    "markup": lambda _: "%3Cscript%3E",
    "not text": lambda _: "%FF%00",
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_forged_link_opens_nothing(site: Api, asked: Case, forge: Callable[[Case], str]) -> None:
    path = f"/pay/{forge(asked)}"

    answers = [site.ask("GET", path), site.ask("POST", path), site.ask("GET", f"{path}/done")]

    for got in answers:
        assert "This link is not good" in page_in(got, 404)
        assert "29.00" not in got.text
    assert asked.paid_at_stripe() == []


def test_whatever_a_page_names_is_escaped(site: Api) -> None:
    add_customer(site.engine)
    hostile = '"><script>alert(1)</script>'
    one = charge(charge_id=hostile, status=ChargeStatus.ACTION_REQUIRED)
    values = {column.name: getattr(one, column.name) for column in tables.charges.columns}
    with site.engine.begin() as tx:
        tx.execute(insert(tables.charges).values(values))
    link = Links(PUBLIC, SECRET).to_charge("acme", hostile)

    got = site.ask("GET", urlsplit(link).path)

    assert got.status_code == 200
    assert "<script>" not in got.text
    assert "&lt;script&gt;alert(1)" in got.text


def test_the_description_of_the_api_names_the_links_and_hides_the_pages(shared_api: Api) -> None:
    paths = shared_api.ask("GET", "/openapi.json").json()["paths"]

    setup_link = paths["/api/v1/customers/{customer_id}/setup"]["post"]["responses"]
    assert {"201", "401", "403", "404", "422", "502", "503"} <= setup_link.keys()
    assert not [path for path in paths if path.startswith(("/pay", "/setup"))]
