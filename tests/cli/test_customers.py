"""`fixbill customers`, `credits` and `usage`: who they are, what they may use, what they used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest

from schemas.answers import Usage
from tests.builders import (
    NOW,
    add_customer,
    add_customer_with_card,
    one_row,
    outcomes,
    owe,
    publish_all,
    rows_of,
)
from tests.cli.running import NOWHERE, Cli, fixed_now, somebody
from tests.sandbox.sandbox_process import RunningSandbox
from worker.due import sweep
from worker.process import open_tools
from worker.storage import tables


def balance(cli: Cli, customer_id: str = "acme") -> int:
    usage: dict[str, Any] = cli("usage", customer_id, "--json").json
    return int(usage["credits"]["balance"])


@pytest.mark.parametrize(("plan", "credits"), [("trial", 5), ("payg", 0)])
def test_a_new_customer_has_the_credits_of_their_plan(cli: Cli, plan: str, credits: int) -> None:
    done = cli("customers", "add", "acme", "--plan", plan, "--json")

    answer = done.json
    assert (done.code, done.err) == (0, "")
    assert (answer["plan"]["code"], answer["credits"]["balance"]) == (plan, credits)
    assert Usage.model_validate(answer).customer_id == "acme"


def test_a_customer_is_on_trial_unless_told_otherwise(cli: Cli) -> None:
    assert cli("customers", "add", "acme", "--json").json["plan"]["code"] == "trial"


def test_name_and_email_are_kept_as_they_are_written(cli: Cli) -> None:
    done = cli("customers", "add", "acme", "--name", "Åcme & Söhne", "--email", "a+b@exämple.com")

    row = one_row(cli.engine, tables.customers)
    assert done.code == 0
    assert (row["name"], row["email"]) == ("Åcme & Söhne", "a+b@exämple.com")


@pytest.mark.parametrize("option", ["--name", "--email"])
def test_a_name_that_is_too_long_is_refused_in_a_sentence(cli: Cli, option: str) -> None:
    done = cli("customers", "add", "acme", option, "x" * 300)

    assert done.code == 1
    assert "characters long" in done.sentence
    assert rows_of(cli.engine, tables.customers) == []


def test_a_customer_is_added_once(cli: Cli) -> None:
    cli("customers", "add", "acme")

    again = cli("customers", "add", "acme", "--plan", "payg")

    assert again.code == 1
    assert again.sentence == "fixbill: there is a customer acme already"
    assert one_row(cli.engine, tables.books)["plan"] == "trial"
    assert balance(cli) == 5


def test_an_id_that_is_not_plain_is_refused_with_the_rule(cli: Cli) -> None:
    done = cli("customers", "add", "Ac me")

    assert done.code == 1
    assert "A-Z a-z 0-9" in done.sentence
    assert rows_of(cli.engine, tables.customers) == []


def test_a_plan_that_does_not_exist_is_refused_with_those_that_do(cli: Cli) -> None:
    cli("customers", "add", "acme")

    added = cli("customers", "add", "globex", "--plan", "gold")
    changed = cli("customers", "set-plan", "acme", "gold")

    assert (added.code, changed.code) == (1, 1)
    assert "trial, payg, pro" in added.sentence
    assert "trial, payg, pro" in changed.sentence
    assert [row["plan"] for row in rows_of(cli.engine, tables.books)] == ["trial"]


def test_an_unknown_customer_is_one_sentence_that_says_what_to_do(cli: Cli) -> None:
    lines = [
        ["usage", "nobody"],
        ["customers", "show", "nobody"],
        ["customers", "set-plan", "nobody", "payg"],
        ["customers", "add-payment-method", "nobody", "pm_card_visa"],
        ["customers", "accept-held", "nobody"],
        ["customers", "set-cap", "nobody", "100.00"],
        ["customers", "cancel", "nobody"],
        ["customers", "release", "nobody"],
        ["customers", "erase", "nobody", "--yes"],
        ["credits", "grant", "nobody", "1"],
    ]

    answers = [cli(*words, *more) for words in lines for more in ([], ["--json"])]

    assert {each.code for each in answers} == {1}
    assert {each.sentence for each in answers} == {
        "fixbill: there is no customer nobody; `fixbill customers add` makes one"
    }


def test_from_now_on_fixes_settle_under_the_new_plan(cli: Cli) -> None:
    add_customer(cli.engine, plan="pro")
    cli.settle(fixed_now("fix-1"))

    done = cli("customers", "set-plan", "acme", "payg", "--json")
    cli.settle(fixed_now("fix-2"))

    assert done.json["plan"]["code"] == "payg"
    prices = {row["fix_id"]: row["price"] for row in rows_of(cli.engine, tables.fixes)}
    assert prices == {"fix-1": 1500, "fix-2": 2900}


def test_a_plan_that_is_paid_by_the_month_begins_with_its_first_month(
    cli: Cli, sandbox: RunningSandbox
) -> None:
    customer_id = somebody()
    cli("customers", "add", customer_id, "--plan", "payg")
    cli("customers", "add-payment-method", customer_id, "pm_card_visa")

    first, again = (cli("customers", "set-plan", customer_id, "pro", "--json") for _ in range(2))

    assert (first.code, again.code) == (0, 0)
    plan, left = first.json["plan"], first.json["credits"]
    assert (plan["code"], plan["subscription_status"]) == ("pro", "active")
    assert (left["balance"], again.json["credits"]["balance"]) == (10, 10)
    stripe_customer = one_row(cli.engine, tables.customers)["stripe_customer"]
    paid = sandbox.payments(customer=stripe_customer, status="succeeded")
    assert [each["amount"] for each in paid] == [59900]


REFUSED = {
    "added with such a plan": (["add", "globex", "--plan", "pro"], "pro is paid by a subscription"),
    "without a card": (["set-plan", "acme", "pro"], "add-payment-method acme"),
    "back to the trial": (["set-plan", "acme", "trial"], "trial is for new customers"),
}


@pytest.mark.parametrize(("words", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_plan_that_cannot_be_had_is_refused_with_what_to_do(
    cli: Cli, words: list[str], sentence: str
) -> None:
    add_customer(cli.engine, card=False)

    done = cli("customers", *words)

    assert (done.code, done.out) == (1, "")
    assert sentence in done.sentence
    assert [row["plan"] for row in rows_of(cli.engine, tables.books)] == ["payg"]


def test_a_first_card_brings_credits_and_ends_the_trial(cli: Cli) -> None:
    customer_id = somebody()
    cli("customers", "add", customer_id, "--name", "Acme", "--email", "billing@acme.example")
    add_card = ("customers", "add-payment-method", customer_id)

    first = cli(*add_card, "pm_card_visa", "--json")
    second = cli(*add_card, "pm_card_mastercard", "--json")

    assert (first.json["plan"]["code"], first.json["credits"]["balance"]) == ("payg", 10)
    assert second.json["credits"]["balance"] == 10
    assert one_row(cli.engine, tables.books)["has_payment_method"]


def test_a_card_that_stripe_does_not_know_is_refused_in_stripes_words(cli: Cli) -> None:
    customer_id = somebody()
    cli("customers", "add", customer_id)

    done = cli("customers", "add-payment-method", customer_id, "pm_unknown", "--json")

    assert done.code == 1
    assert "pm_unknown" in done.sentence
    assert not one_row(cli.engine, tables.books)["has_payment_method"]


def test_stripe_that_is_away_is_one_sentence(cli: Cli) -> None:
    cli("customers", "add", "acme")
    cli.set(STRIPE_API_BASE=f"http://{NOWHERE}")

    done = cli("customers", "add-payment-method", "acme", "pm_card_visa", "--json")

    assert done.code == 1
    assert done.sentence.startswith("fixbill: ")


def test_held_fixes_become_money_once_that_is_accepted(cli: Cli) -> None:
    customer_id = add_customer(cli.engine, somebody(), card=False)
    cli.settle(fixed_now("fix-1", customer_id), fixed_now("fix-2", customer_id))
    cli("customers", "add-payment-method", customer_id, "pm_card_visa")
    before = outcomes(cli.engine, customer_id)

    done = cli("customers", "accept-held", customer_id)
    again = cli("customers", "accept-held", customer_id, "--json")

    assert before == {"fix-1": "held", "fix-2": "held"}
    assert (done.code, done.out) == (0, f"0 fixes of {customer_id} are still held\n")
    assert again.json == {"customer_id": customer_id, "held": 0}
    assert outcomes(cli.engine, customer_id) == {"fix-1": "charged", "fix-2": "charged"}


def test_within_a_cap_held_fixes_become_money_and_the_cost_is_said_first(cli: Cli) -> None:
    customer_id = add_customer(cli.engine, somebody(), card=False)
    cli.settle(*(fixed_now(f"fix-{number}", customer_id) for number in (1, 2, 3)))
    cli("customers", "add-payment-method", customer_id, "pm_card_visa")

    done = cli("customers", "set-cap", customer_id, "60.00")
    answer = cli("usage", customer_id, "--json").json

    assert done.code == 0
    assert done.out.splitlines()[0] == (
        "3 fixes wait for payment: 3 would cost $87.00, charged at once within the spending cap"
        " of $60.00 a month. From now on, a fix that no credit covers costs $29.00."
    )
    assert answer["limits"]["spending_cap"] == {"amount": 6000, "currency": "usd"}
    assert list(outcomes(cli.engine, customer_id).values()) == ["charged", "charged", "held"]


def test_a_cap_can_be_taken_away_and_set_twice(cli: Cli) -> None:
    add_customer(cli.engine)

    caps = [
        cli("customers", "set-cap", "acme", cap, "--json").json["limits"]["spending_cap"]
        for cap in ("100", "100", "0", "none", "none")
    ]

    hundred, nothing = ({"amount": amount, "currency": "usd"} for amount in (10_000, 0))
    assert caps == [hundred, hundred, nothing, None, None]


@pytest.mark.parametrize("cap", ["much", "1.001", "", "1e3"])
def test_a_cap_that_is_no_amount_is_wrong_usage(cli: Cli, cap: str) -> None:
    add_customer(cli.engine, spending_cap=5000)

    done = cli("customers", "set-cap", "acme", cap)

    assert (done.code, done.out) == (2, "")
    assert "100.00" in done.err
    assert one_row(cli.engine, tables.books)["spending_cap"] == 5000


def test_from_a_customer_who_left_nothing_is_collected(cli: Cli, sandbox: RunningSandbox) -> None:
    customer_id = somebody()
    stripe_customer = add_customer_with_card(cli.engine, sandbox, customer_id)
    owe(cli.engine, customer_id)

    done, again = (cli("customers", "cancel", customer_id, "--json") for _ in range(2))
    text = cli("customers", "show", customer_id)
    cli.settle(fixed_now("fix-2", customer_id))
    swept = sweep("charge", open_tools())

    assert (done.code, again.code, swept) == (0, 0, 0)
    assert done.json["plan"]["standing"] == again.json["plan"]["standing"] == "parked"
    assert "! Nothing is collected at present: cancelled." in text.out.splitlines()
    assert outcomes(cli.engine, customer_id) == {"fix-1": "charged", "fix-2": "held"}
    assert one_row(cli.engine, tables.books)["receivable"] == 2900
    assert sandbox.payments(customer=stripe_customer) == []


def test_a_customer_who_comes_back_with_a_card_pays_what_is_owed(
    cli: Cli, sandbox: RunningSandbox
) -> None:
    customer_id = somebody()
    stripe_customer = add_customer_with_card(cli.engine, sandbox, customer_id)
    owe(cli.engine, customer_id)
    cli("customers", "cancel", customer_id)

    back = cli("customers", "add-payment-method", customer_id, "pm_card_visa", "--json")
    sweep("charge", open_tools())

    assert back.json["plan"]["standing"] == "good"
    paid = sandbox.payments(customer=stripe_customer, status="succeeded")
    assert [each["amount"] for each in paid] == [2900]


def test_one_who_left_is_erased_once_that_is_confirmed(cli: Cli, sandbox: RunningSandbox) -> None:
    customer_id = somebody()
    add_customer_with_card(cli.engine, sandbox, customer_id)
    erase = ("customers", "erase", customer_id)
    refused = cli(*erase)
    cli("customers", "cancel", customer_id)

    cli.monkeypatch.setattr("sys.stdin", StringIO("no\n"))
    unanswered = cli(*erase)
    untouched = one_row(cli.engine, tables.customers)["erased_at"]
    done, again = cli(*erase, "--yes"), cli(*erase, "--yes", "--json")
    shown = cli("customers", "show", customer_id)
    back = cli("customers", "add-payment-method", customer_id, "pm_card_visa", "--json")

    assert refused.sentence == (
        f"fixbill: {customer_id} has not left: `fixbill customers cancel {customer_id}` first"
    )
    assert (unanswered.code, untouched) == (130, None)
    assert (unanswered.out, "It cannot be undone" in unanswered.err) == ("", True)
    erased_at = one_row(cli.engine, tables.customers)["erased_at"]
    assert done.out == f"{customer_id} was erased on {erased_at:%Y-%m-%d %H:%M:%SZ}\n"
    assert datetime.fromisoformat(again.json["erased_at"]) == erased_at
    assert (shown.code, back.code) == (0, 1)
    assert "was erased" in back.sentence


def test_a_parked_customer_is_released_once(cli: Cli) -> None:
    add_customer(cli.engine, parked_at=NOW, parked_why="circuit breaker: too much")

    first = cli("customers", "release", "acme")
    second = cli("customers", "release", "acme")
    third = cli("customers", "release", "acme", "--json")

    assert (first.code, first.out) == (0, "acme was released\n")
    assert (second.code, second.out) == (1, "acme was not parked\n")
    assert (third.code, third.json) == (1, {"customer_id": "acme", "released": False})
    assert cli("usage", "acme", "--json").json["plan"]["standing"] == "good"


def test_a_grant_pays_for_held_fixes_at_once_oldest_first(cli: Cli) -> None:
    add_customer(cli.engine, card=False)
    cli.settle(*(fixed_now(f"fix-{number}") for number in (1, 2, 3)))

    done = cli("credits", "grant", "acme", "2", "--json")

    assert done.json["balance"] == 0
    assert outcomes(cli.engine) == {"fix-1": "credited", "fix-2": "credited", "fix-3": "held"}


def test_a_grant_with_a_key_is_given_once(cli: Cli) -> None:
    add_customer(cli.engine)

    first = cli("credits", "grant", "acme", "3", "--key", "sorry-2026-03")
    second = cli("credits", "grant", "acme", "3", "--key", "sorry-2026-03")
    third = cli("credits", "grant", "acme", "3", "--key", "sorry-2026-03", "--json")

    assert [first.code, second.code, third.code] == [0, 0, 0]
    assert "given before" in second.out
    assert third.json == {
        "customer_id": "acme",
        "key": "sorry-2026-03",
        "granted": False,
        "balance": 3,
    }


def test_grants_without_a_key_are_all_given(cli: Cli) -> None:
    add_customer(cli.engine)

    keys = {cli("credits", "grant", "acme", "1", "--json").json["key"] for _ in range(2)}

    assert len(keys) == 2
    assert balance(cli) == 2


def test_the_same_key_serves_two_customers(cli: Cli) -> None:
    for customer_id in ("acme", "globex"):
        add_customer(cli.engine, customer_id)
        cli("credits", "grant", customer_id, "4", "--key", "spring")

    assert (balance(cli, "acme"), balance(cli, "globex")) == (4, 4)


@pytest.mark.parametrize("key", ["signup", "billing_added", "revert:fix-1", "roll:gift"])
def test_a_key_of_the_products_own_grants_is_no_operators_to_take(cli: Cli, key: str) -> None:
    add_customer(cli.engine)

    done = cli("credits", "grant", "acme", "1", "--key", key)

    assert done.code != 0
    assert rows_of(cli.engine, tables.grants) == []


def test_a_grant_can_expire(cli: Cli) -> None:
    add_customer(cli.engine)
    before = datetime.now(UTC)

    cli("credits", "grant", "acme", "1", "--expires-in-days", "30")

    expires_at = one_row(cli.engine, tables.grants)["expires_at"]
    assert before + timedelta(days=30) <= expires_at <= datetime.now(UTC) + timedelta(days=30)


def test_usage_reads_well(cli: Cli) -> None:
    add_customer(cli.engine, credits=1)
    cli.settle(fixed_now("fix-1"), fixed_now("fix-2", repository="acme/api"))

    done = cli("usage", "acme")

    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert (done.code, done.err) == (0, "")
    assert "customer acme" in lines
    assert "a fix without credit $29.00" in lines
    assert "charged in this cycle $29.00" in lines
    assert "! No credit is left; each fix costs $29.00." in lines
    (api,) = (line.split() for line in lines if "acme/api" in line)
    assert api == ["acme/api", "0", "1", "0", "0", "$29.00"]


def test_usage_says_the_same_as_json_and_as_show(cli: Cli) -> None:
    add_customer(cli.engine, credits=3)

    usage, show = cli("usage", "acme", "--json").json, cli("customers", "show", "acme", "--json")

    del usage["as_of"]
    assert usage == {name: value for name, value in show.json.items() if name != "as_of"}
    assert usage["credits"]["balance"] == 3


def test_usage_is_as_fresh_as_the_oldest_event_that_waits(cli: Cli) -> None:
    add_customer(cli.engine)
    before = datetime.now(UTC) - timedelta(seconds=1)
    publish_all(cli.redis, [fixed_now()])

    first, second = (cli("usage", "acme", "--json").json["as_of"] for _ in range(2))

    assert first == second
    assert datetime.fromisoformat(first) >= before


@pytest.mark.parametrize("words", [["usage", "acme"], ["customers", "show", "acme"]], ids=" ".join)
def test_without_redis_stdout_is_json_alone_all_the_same(cli: Cli, words: list[str]) -> None:
    add_customer(cli.engine)
    cli.set(REDIS_URL=f"redis://{NOWHERE}")

    done = cli(*words, "--json")

    assert done.code == 0
    assert done.json["customer_id"] == "acme"
