"""Customers worth looking at, and the links to their pages."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from httpx import Response
from sqlalchemy import Engine, update

from schemas.events import Event
from tests.api.client import Api
from tests.builders import (
    DAY,
    HOUR,
    MARCH,
    MINUTE,
    NOW,
    add_customer,
    deployed,
    give_credits,
    reverted,
    settle_entries,
    settle_events,
    usd,
)
from tests.builders import entry as inbox_entry
from tests.stating import MARCH_CLOSED, pass_time, write_statements
from tests.usage.conftest import ask_card, pay
from worker.storage import tables

HOSTILE = "<script>alert('&\"')</script> \u202eelpmaxe \U0001f608 " + "x" * 150


def settle_lively(engine: Engine) -> None:
    """acme: credits, a paid and an open charge, reverts; evil: a hostile name; older: a past cycle;

    globex has what nobody else may see; umbrella waits for a card.
    """
    add_customer(engine, "acme", spending_cap=20 * 2900)
    give_credits(engine, "acme", 4, expires_at=NOW + 30 * DAY, now=MARCH.start)
    settle_events(engine, *fixes_over_days("acme", range(8)), now=NOW - DAY)
    pay(engine, ask_card(engine, "acme"), "pi_acme", usd(4 * 29))
    settle_events(engine, *fixes_over_days("acme", range(8, 13), "acme/api"), now=NOW)
    settle_events(engine, reverted("acme-1"), reverted("acme-5"), now=NOW)
    add_customer(engine, "globex", credits=1)
    secrets = [deployed(f"secret-{number}", "globex", repository="globex/vault") for number in "12"]
    settle_events(engine, *secrets)
    add_customer(engine, "umbrella", card=False)
    settle_events(engine, deployed("u-1", "umbrella"))
    add_customer(engine, "evil", credits=1)
    with engine.begin() as tx:
        named = update(tables.customers).where(tables.customers.c.customer_id == "evil")
        tx.execute(named.values(name=HOSTILE))
    longest = deployed("f" * 119, "evil", repository="e/" + "r" * 198, finding="F" * 128)
    settle_events(engine, longest, deployed("e-2", "evil", pull_request=2**31 - 1))
    add_customer(engine, "older", credits=3)
    settle_events(engine, *fixes_over_days("older", range(5)))
    pass_time(engine, MARCH_CLOSED, ["older"])
    write_statements(engine)
    settle_entries(engine, [inbox_entry(b"junk"), inbox_entry(b"{}")])


def fixes_over_days(
    customer_id: str, numbers: Sequence[int], repository: str = "acme/shop"
) -> list[Event]:
    """One more each day than the day before."""
    return [
        deployed(
            f"{customer_id}-{number}",
            customer_id,
            at=MARCH.start + (number // 2) * DAY + number * MINUTE + HOUR,
            repository=repository,
            pull_request=number + 1,
            finding="CVE-2026-1234",
        )
        for number in numbers
    ]


def link_to(api: Api, customer_id: str = "acme") -> str:
    assert api.doors.links is not None
    return urlsplit(api.doors.links.to_usage(customer_id)).path


def look(api: Api, path: str = "", customer_id: str = "acme") -> Response:
    return api.ask("GET", link_to(api, customer_id) + path)


def page_in(response: Response, status: int = 200) -> str:
    """The page that was answered, which must be one, with this status, that runs nothing."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "<script" not in response.text
    return response.text
