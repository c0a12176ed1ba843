"""What is said of a catalogue that cannot be used: file, line, field and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from schemas.plans import BadPlans, load_plans
from tests.schemas.plan_files import GOOD, version

AMOUNT = "one.versions[0].price: amount must be a whole number of minor units above 0"
IN_CAPITALS = "currency must be a lower-case ISO 4217 code such as usd"
PAYG = version('price = { amount = 1, currency = "usd" }', "payg")
CYCLED = 'subscription = { amount = 9, currency = "usd" }\nafter_cancel_plan = "payg"\n'

# A text, and what is said of it behind the name of the file.
BAD: dict[str, tuple[str | bytes, str]] = {
    "nothing": ("", "1: there are no plans in it"),
    "nothing but words": ("# plans\n\n", "1: there are no plans in it"),
    "no TOML": ("a = 1\n[one\nb = 2", "2: Expected ']' at the end of a table declaration"),
    "a string without an end": ('[one]\ntitle = """\n\n', "2: Unterminated string at the end"),
    "a key given twice": ("[one]\ntitle = 1\ntitle = 2\n", "3: Cannot overwrite a value"),
    "a plan given twice": ("[one]\n[two]\n[one]\n", "3: Cannot declare"),
    "no UTF-8": (b'[one]\ntitle = "\xff"\n', "2: is no UTF-8 text"),
    "a number without an end": (b"one = " + b"9" * 5000, " Exceeds the limit"),
    "a name that is no word": (version("", '"a plan"'), "1: a plan: the name of a plan is made of"),
    "a plan that is a number": ("one = 1\n", "1: one: must be a table"),
    "no title": ("[one]\n[[one.versions]]\neffective = 2026-01-01\n", "1: one.title: is missing"),
    "an empty title": (version("").replace("One", ""), "2: one.title: must not be empty"),
    "no versions": ('[one]\ntitle = "One"\n', "1: one.versions: is missing"),
    "versions of nothing": (
        '[one]\ntitle = "One"\nversions = []\n',
        "3: one.versions: must not be empty",
    ),
    "one version that is no array": (
        '[one]\ntitle = "One"\n[one.versions]\n',
        "3: one.versions: must be an array",
    ),
    "no date": (
        '[one]\ntitle = "One"\n[[one.versions]]\n',
        "3: one.versions[0].effective: is missing",
    ),
    "a date in quotes": (version("", effective='"2026-01-01"'), "4: one.versions[0].effective: "),
    "a date with a time": (
        version("", effective="2026-01-01T00:00:00Z"),
        "4: one.versions[0].effective: must be a date such as 2026-01-31",
    ),
    "a date that is a number": (
        version("", effective="1767225600"),
        "4: one.versions[0].effective: must be a date",
    ),
    "a day that is not there": (version("", effective="2026-02-30"), "4: Invalid date"),
    "an unheard-of term": (
        version("discount = 5"),
        "5: one.versions[0].discount: there is no such field",
    ),
    "an unheard-of word beside the title": (
        version("") + "[one.more]\n",
        "6: one.more: there is no such field",
    ),
    "a price in floats": (version('price = { amount = 29.0, currency = "usd" }'), f"5: {AMOUNT}"),
    "a price of nothing": (version('price = { amount = 0, currency = "usd" }'), f"5: {AMOUNT}"),
    "a negative price": (version('price = { amount = -1, currency = "usd" }'), f"5: {AMOUNT}"),
    "a truth for a price": (version('price = { amount = true, currency = "usd" }'), f"5: {AMOUNT}"),
    "a price without an amount": (version('price = { currency = "usd" }'), f"5: {AMOUNT}"),
    "a price above what Stripe takes": (
        version('price = { amount = 100000000, currency = "usd" }'),
        "5: one.versions[0].price: amount must be at most 99999999",
    ),
    "a price without a currency": (
        version("price = { amount = 1 }"),
        "5: one.versions[0].price.currency: is missing",
    ),
    "a price in capitals": (
        version('price = { amount = 1, currency = "USD" }'),
        f"5: one.versions[0].price: {IN_CAPITALS}",
    ),
    "a price that is a word": (
        version('price = "free"'),
        "5: one.versions[0].price: must be a table such as",
    ),
    "a price in a table of its own": (
        version("") + "[one.versions.price]\namount = 1\ncurrency = 5\n",
        "8: one.versions[0].price.currency: must be a valid string",
    ),
    "negative credits": (
        version("signup_credits = -1"),
        "5: one.versions[0].signup_credits: must be greater than or equal to 0",
    ),
    "half a credit": (
        version("signup_credits = 0.5"),
        "5: one.versions[0].signup_credits: must be",
    ),
    "credits in words": (
        version('signup_credits = "5"'),
        "5: one.versions[0].signup_credits: must be a valid integer",
    ),
    "too many credits": (
        version("included_credits = 1000001"),
        "5: one.versions[0].included_credits: must be less than or equal to 1000000",
    ),
    "an unheard-of way to collect": (
        version('collect = "sometimes"'),
        "5: one.versions[0].collect: must be 'at_once' or 'cycle_end'",
    ),
    "days that do not rise": (
        version("retry_days = [1, 1]"),
        "5: one.versions[0].retry_days: retry days must rise",
    ),
    "days that fall": (
        version("retry_days = [3, 1]"),
        "5: one.versions[0].retry_days: retry days must rise",
    ),
    "a try on the day itself": (
        version("retry_days = [0, 1]"),
        "5: one.versions[0].retry_days[0]: must be greater than or equal to 1",
    ),
    "a try in a year, over several lines": (
        version("retry_days = [\n  1,\n  365,\n]"),
        "5: one.versions[0].retry_days[1]: must be less than or equal to 90",
    ),
    "half a day": (version("retry_days = [0.5]"), "5: one.versions[0].retry_days[0]: must be"),
    "days in words": (version('retry_days = ["1"]'), "5: one.versions[0].retry_days[0]: must be"),
    "days that are one number": (
        version("retry_days = 3"),
        "5: one.versions[0].retry_days: must be an array",
    ),
    "dates that do not rise": (
        version("") + "[[one.versions]]\neffective = 2026-01-01\n",
        "7: one.versions[1].effective: must be later than 2026-01-01",
    ),
    "dates that fall": (
        version("") + "[[one.versions]]\n\n# earlier\neffective = 2025-01-01\n",
        "9: one.versions[1].effective: must be later than 2026-01-01",
    ),
    "a price in another currency, later": (
        GOOD.replace('200, currency = "usd"', '200, currency = "eur"'),
        "9: one.versions[1].price: the currency of a plan never changes, and is usd",
    ),
    "a subscription in another currency than the price": (
        PAYG.replace("usd", "eur") + version(f'{CYCLED}price = {{ amount = 1, currency = "eur" }}'),
        "10: one.versions[0].subscription: must be in the currency of the price, eur",
    ),
    "a subscription whose end leads nowhere": (
        version('subscription = { amount = 1, currency = "usd" }'),
        "3: one.versions[0].after_cancel_plan: is missing",
    ),
    "included credits that nobody pays for": (
        version("included_credits = 1"),
        "5: one.versions[0].included_credits: needs a subscription",
    ),
    "a rollover without cycles": (
        version("rollover_credits_max = 1"),
        "5: one.versions[0].rollover_credits_max: needs a subscription",
    ),
    "the end of a subscription there is not": (
        PAYG + version('after_cancel_plan = "payg"'),
        "10: one.versions[0].after_cancel_plan: needs a subscription",
    ),
    "an end that leads to no plan": (
        version(CYCLED),
        "6: one.versions[0].after_cancel_plan: there is no plan 'payg'; there are one",
    ),
    "an end that leads to a subscription": (
        PAYG + version(CYCLED.replace("payg", "one")),
        "11: one.versions[0].after_cancel_plan: plan one has a subscription, which only",
    ),
    "an end that leads to another currency": (
        PAYG.replace("usd", "eur") + version(CYCLED),
        "11: one.versions[0].after_cancel_plan: plan payg is in eur, and this version in usd",
    ),
    "an end that leads to what is not yet in force": (
        PAYG.replace("2026", "2027") + version(CYCLED),
        "11: one.versions[0].after_cancel_plan: plan payg has no version in force on 2026-01-01",
    ),
    "a card that leads to no plan": (
        version('billing_added_plan = "two"'),
        "5: one.versions[0].billing_added_plan: there is no plan 'two'; there are one",
    ),
    "a card that leads to a subscription": (
        PAYG + version(CYCLED) + version('billing_added_plan = "one"', "two"),
        "17: two.versions[0].billing_added_plan: plan one has a subscription, which only",
    ),
}


@pytest.mark.parametrize(("text", "said"), BAD.values(), ids=BAD)
def test_a_bad_catalogue_is_refused_by_file_line_and_field(
    written: Any, text: str | bytes, said: str
) -> None:
    file = written(text)

    with pytest.raises(BadPlans) as refused:
        load_plans(file)

    (problem,) = str(refused.value).splitlines()
    assert problem.startswith(f"{file}:{said}")


def test_all_that_is_wrong_is_told_from_top_to_bottom(written: Any) -> None:
    one = GOOD.replace("2026-06-01", "2025-06-01").replace("amount = 100", "amount = 0")
    file = written(one + version("discount = 5\nretry_days = [2, 1]", "two"))

    with pytest.raises(BadPlans) as refused:
        load_plans(file)

    assert [(each.line, each.field) for each in refused.value.args] == [
        (6, "one.versions[0].price"),
        (14, "two.versions[0].discount"),
        (15, "two.versions[0].retry_days"),
    ]


def test_a_bad_version_hides_nothing_that_is_wrong_in_the_others(written: Any) -> None:
    later = "[[one.versions]]\neffective = {}\n{}\n"
    file = written(
        version("")
        + later.format("2026-03-01", "discount = 5")
        + later.format("2026-01-01", "included_credits = 1")
    )

    with pytest.raises(BadPlans) as refused:
        load_plans(file)

    assert [(each.line, each.field) for each in refused.value.args] == [
        (8, "one.versions[1].discount"),
        (10, "one.versions[2].effective"),
        (11, "one.versions[2].included_credits"),
    ]


def test_a_catalogue_that_is_not_there_is_told_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "missing.toml"

    with pytest.raises(BadPlans) as refused:
        load_plans(file)

    assert str(refused.value) == f"{file}: cannot be read: No such file or directory"
