"""The customer's usage page: who sees what, behind which link, in whose frame."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from time import time

import pytest
from itsdangerous import TimestampSigner, URLSafeTimedSerializer

from tests.api.client import Api, problem_in
from tests.api.visiting import HOSTILE, link_to, look, page_in, settle_lively
from tests.builders import add_customer, rows_of
from worker.links import USAGE_GOOD_FOR
from worker.settings import MissingSetting, Settings, settings
from worker.storage import tables


@pytest.fixture(scope="module")
def site(shared_api: Api) -> Api:
    settle_lively(shared_api.engine)
    return shared_api


LINK = "/api/v1/customers/acme/usage/link"


# What it shows.


def test_the_page_says_what_the_answer_says(site: Api) -> None:
    usage = site.usage().json()

    text = page_in(look(site))

    assert usage["fixes"] == {"credited": 3, "charged": 8, "held": 0, "reverted": 2}
    for shown in (
        "Plan Pay as you go",
        "in good standing",
        "$29.00 a fix without a credit",
        "March 2026",
        "acme/shop",
        "acme/api",
        "Given by us",
        "expire on 14 April 2026",
        "spending cap of $580.00",
        "At this pace:",
        "Everything that had reached us by",
    ):
        assert shown in text


def test_a_link_of_no_earlier_cycle_is_shown_to_a_new_customer(api: Api) -> None:
    add_customer(api.engine, card=False)

    text = page_in(look(api))

    assert "Other cycles" not in text
    assert "No fix has been counted" in text
    assert "Without a payment method" in text
    assert "<svg" not in text


def test_the_bars_of_a_day_are_what_the_report_counts(site: Api) -> None:
    path = "/api/v1/customers/acme/usage/report?group_by=day"
    report = site.ask("GET", path, site.signed()).json()

    found = re.findall(
        r'<rect class="(\w+)" x="[^"]+" y="[^"]+"\s+width="[^"]+" height="([\d.]+)"',
        look(site).text,
    )

    counted = [
        (outcome, each["fixes"][outcome])
        for each in report["data"]
        for outcome in ("credited", "charged", "held", "reverted")
        if each["fixes"][outcome]
    ]
    assert [outcome for outcome, _ in found] == [outcome for outcome, _ in counted]
    per_fix = {
        float(height) / count for (_, height), (_, count) in zip(found, counted, strict=True)
    }
    assert max(per_fix) - min(per_fix) < 0.1


def test_an_earlier_cycle_has_its_own_figures_and_its_statement(site: Api) -> None:
    now, before = page_in(look(site, "", "older")), page_in(look(site, "?cycle=1", "older"))

    assert "April 2026" in now
    assert "?cycle=1" in now
    assert "an earlier cycle" in before
    assert "Credits left" not in before
    assert "statements/1" in before
    assert "Statement 1" in page_in(look(site, "/statements/1", "older"))


@pytest.mark.parametrize(
    "path", ["?cycle=9", "?cycle=0", "?cycle=x", "/statements/9", "/fixes/no", "/charges/no"]
)
def test_what_is_not_there_is_told_on_a_page(site: Api, path: str) -> None:
    page_in(look(site, path), 404)


def test_every_why_leads_to_an_explanation(site: Api) -> None:
    token = link_to(site)
    found = re.findall(r'href="([^"]+/(?:fixes|charges)/[^"]+)"', look(site).text)

    assert len(found) == 13 + 2
    for target in found:
        text = page_in(site.ask("GET", f"/usage/{target}"))
        assert "What it costs in the end" in text
        assert f"../../{token.rsplit('/', 1)[1]}" in text


def test_a_name_is_text_and_nothing_else(site: Api) -> None:
    text = page_in(look(site, "", "evil"))

    assert HOSTILE not in text
    assert "&lt;script&gt;alert(&#39;&amp;&#34;&#39;)&lt;/script&gt;" in text


def test_nothing_of_others_is_on_it(site: Api) -> None:
    own = page_in(look(site, "", "globex"))
    others = [page_in(look(site, path)) for path in ("", "/fixes/acme-1")]

    assert "globex/vault" in own
    assert not [text for text in others if "globex" in text or "secret-" in text]
    page_in(look(site, "/fixes/secret-1"), 404)
    (charge,) = rows_of(site.engine, tables.charges, customer_id="globex")
    page_in(look(site, f"/charges/{charge['charge_id']}"), 404)


# The link.


def test_a_portal_gets_a_link_that_is_good_for_a_day(site: Api) -> None:
    got = site.ask("POST", LINK, site.signed())

    assert got.status_code == 201
    assert got.json()["url"].startswith("http://127.0.0.1:1/usage/")
    assert set(got.json()) == {"url", "expires_at"}


def test_a_link_takes_a_key_that_may_and_serves_the_customer(site: Api) -> None:
    problem_in(site.ask("POST", LINK), 401)
    problem_in(site.ask("POST", LINK, site.signed(site.key("read"))), 403)
    others = site.signed(site.key("admin", customers=["globex"]))
    assert problem_in(site.ask("POST", LINK, others), 404)["detail"] == "There is no customer acme."
    problem_in(site.ask("POST", LINK.replace("acme", "nobody"), site.signed()), 404)


def signed_past(site: Api, seconds: float) -> str:
    class Past(TimestampSigner):
        def get_timestamp(self) -> int:
            return int(time() - seconds)

    assert site.doors.links is not None
    token = URLSafeTimedSerializer(site.doors.links.secret, salt="usage", signer=Past)
    return f"/usage/{token.dumps(['acme'])!s}"


def test_a_link_ends_after_a_day(site: Api) -> None:
    day = USAGE_GOOD_FOR.total_seconds()

    page_in(site.ask("GET", signed_past(site, day - 60)))
    for path in ("", "/fixes/acme-1", "/statements/1"):
        assert "not good" in page_in(site.ask("GET", signed_past(site, day + 60) + path), 404)


def links_of_others(site: Api) -> Iterator[str]:
    links = site.doors.links
    assert links is not None
    for url in (links.to_charge("acme", "1"), links.to_statement("acme", 1)):
        yield url.rsplit("/", 1)[1]
    yield links._replace(secret="another").to_usage("acme").rsplit("/", 1)[1]
    yield "x" * 2000
    yield "é"


def test_no_other_text_is_a_link(site: Api) -> None:
    for token in links_of_others(site):
        page_in(site.ask("GET", f"/usage/{token}"), 404)


def test_without_an_address_for_customers_there_is_no_page(site: Api) -> None:
    page_in(site.behind(links=None).ask("GET", link_to(site)), 503)


def test_while_the_inbox_is_away_the_page_says_how_old_it_is(site: Api, redis_away: object) -> None:
    away = Api(replace(site.doors, redis=redis_away), site.engine, site.redis)  # type: ignore[arg-type]

    assert "by 12:00:00 on 15 March 2026" in page_in(away.ask("GET", link_to(site)))


# The frame.


def test_nobody_frames_it_unless_the_settings_say_so(site: Api) -> None:
    links = site.doors.links
    assert links is not None
    portal = site.behind(links=links._replace(portals=("https://a.example", "https://b.example")))

    alone, framed = (each.ask("GET", link_to(site)) for each in (site, portal))

    assert "frame-ancestors 'none'" in alone.headers["Content-Security-Policy"]
    policy = framed.headers["Content-Security-Policy"]
    assert policy.endswith("frame-ancestors https://a.example https://b.example")


@pytest.mark.parametrize("listed", ["portal", "https://x; script-src *", "*", "javascript:x"])
def test_a_portal_that_is_no_origin_is_refused(
    listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTAL_ORIGINS", listed)
    settings.cache_clear()

    with pytest.raises(MissingSetting, match="PORTAL_ORIGINS"):
        settings()


def test_portals_are_separated_by_commas() -> None:
    read = Settings.of({"PORTAL_ORIGINS": "https://a.example, http://localhost:3000"})

    assert read.portals() == ("https://a.example", "http://localhost:3000")
