"""`fixbill usage link`."""

from __future__ import annotations

from tests.builders import add_customer
from tests.cli.running import Cli
from worker.links import Links

PUBLIC, SECRET = "https://billing.example", "what signs the links of these tests"


def test_a_link_leads_to_the_customers_usage(cli: Cli) -> None:
    add_customer(cli.engine)
    cli.set(PUBLIC_URL=PUBLIC, LINK_SECRET=SECRET)

    text, answer = cli("usage", "link", "acme"), cli("usage", "link", "acme", "--json")

    for url in (text.out.strip(), answer.json["url"]):
        assert url.startswith(f"{PUBLIC}/usage/")
        assert Links(PUBLIC, SECRET).usage_of(url.rsplit("/", 1)[1]) == "acme"
    assert "expires_at" in answer.json


def test_a_stranger_has_no_link(cli: Cli) -> None:
    cli.set(PUBLIC_URL=PUBLIC, LINK_SECRET=SECRET)

    done = cli("usage", "link", "nobody")

    assert done.code == 1
    assert "there is no customer nobody" in done.sentence


def test_without_an_address_for_customers_none_is_made(cli: Cli) -> None:
    add_customer(cli.engine)

    done = cli("usage", "link", "acme")

    assert done.code == 1
    assert "PUBLIC_URL and LINK_SECRET" in done.sentence
