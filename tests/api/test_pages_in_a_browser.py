"""The pages in a real Chromium: readable in light and dark, on a phone, and without JavaScript."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, NamedTuple

import httpx
import pytest
import uvicorn
from playwright.sync_api import Browser, Page

from tests.api.client import Api
from tests.api.visiting import settle_lively
from tests.browser import running_browser
from tests.builders import rows_of
from worker.api.app import build_app
from worker.links import Links
from worker.storage import tables

PHONE, DESK = (390, 800), (1100, 900)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
PORTAL, STRANGER = "127.0.0.1", "localhost"  # of the same server, and yet of different origins

# Of every text that is seen: how much it stands out from what is behind it, as WCAG 2 counts.
CONTRASTS = """() => {
  const parts = color => (color.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = node => {
    for (let at = node; at; at = at.parentElement) {
      const color = parts(getComputedStyle(at).backgroundColor);
      if (color.length && color[3] !== 0) return color;
    }
    return matchMedia('(prefers-color-scheme: dark)').matches ? [0, 0, 0] : [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement, style = getComputedStyle(node);
    if (!walker.currentNode.data.trim() || node.closest('style, title, .unseen')) continue;
    const ink = light(parts(node.closest('svg') ? style.fill : style.color));
    const paper = light(behind(node));
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    found.push([walker.currentNode.data.trim(), ratio]);
  }
  return found;
}"""


class Site(NamedTuple):
    """The API as a server, with its customers."""

    url: str
    links: Links
    admin: str
    portal: int  # the port of a site with the page in a frame
    pages: dict[str, str]  # addresses by what they show


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as one:
        yield one


@pytest.fixture(scope="module")
def site(shared_api: Api) -> Iterator[Site]:
    settle_lively(shared_api.engine)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with portal() as port, served_with(shared_api, url, port, listening) as links:
            yield Site(url, links, shared_api.admin, port, pages_of(shared_api, links))


@contextmanager
def served_with(api: Api, url: str, portal: int, listening: socket.socket) -> Iterator[Links]:
    links = Links(url, "a secret for links", (f"http://{PORTAL}:{portal}",))
    app = build_app(replace(api.doors, links=links))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield links
    finally:
        server.should_exit = True
        thread.join()


class Framing(BaseHTTPRequestHandler):
    """Whatever page it is asked for, in a frame."""

    def do_GET(self) -> None:
        framed = self.path.partition("?")[2]
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        icon = '<link rel="icon" href="data:,">'
        self.wfile.write(f'{icon}<iframe src="{framed}" width="600"></iframe>'.encode())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def portal() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Framing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def pages_of(api: Api, links: Links) -> dict[str, str]:
    (charge,) = rows_of(api.engine, tables.charges, customer_id="acme", status="open")
    acme, older = links.to_usage("acme"), links.to_usage("older")
    return {
        "usage": acme,
        "a hostile name": links.to_usage("evil"),
        "no card": links.to_usage("umbrella"),
        "an earlier cycle": f"{older}?cycle=1",
        "a statement": f"{older}/statements/1",
        "a fix": f"{acme}/fixes/acme-5",
        "a charge": f"{acme}/charges/{charge['charge_id']}",
        "no page": f"{links.public_url}/usage/no",
        "ops": f"{links.public_url}/ops",
        "a list": f"{links.public_url}/ops/quarantine",
        "an empty list": f"{links.public_url}/ops/drifts",
    }


PAGES = [
    "usage",
    "a hostile name",
    "no card",
    "an earlier cycle",
    "a statement",
    "a fix",
    "a charge",
    "no page",
    "ops",
    "a list",
    "an empty list",
]


@contextmanager
def visit(
    browser: Browser, site: Site, size: tuple[int, int] = DESK
) -> Iterator[tuple[Page, list[str]]]:
    """A tab that runs no script, and all that its console is told."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        java_script_enabled=False,
        http_credentials={"username": "ops", "password": site.admin},
    )
    page, told = context.new_page(), list[str]()
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    try:
        yield page, told
    finally:
        context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_readable_everywhere(browser: Browser, site: Site, name: str) -> None:
    with visit(browser, site, PHONE) as (page, told):
        page.goto(site.pages[name])
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        wide = page.evaluate("document.documentElement.scrollWidth")
        contrasts = {}
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            contrasts[scheme] = page.evaluate(CONTRASTS)

    missing = "Failed to load resource: the server responded with a status of 404 (Not Found)"
    assert told == ([missing] if name == "no page" else [])
    assert wide <= PHONE[0]
    assert contrasts["light"] != contrasts["dark"]
    assert [each for found in contrasts.values() for each in found if each[1] < 4.5] == []


def test_what_the_customer_clicks_leads_there_and_back(browser: Browser, site: Site) -> None:
    with visit(browser, site) as (page, told):
        page.goto(site.pages["usage"])
        page.locator("a[href*='/fixes/acme-5']").click()
        assert "Why this fix costs what it costs" in page.inner_text("h1")
        page.get_by_text("The charge it is on").click()
        assert "Why a charge of" in page.inner_text("h1")
        page.locator("a[href*='/fixes/acme-5']").click()
        page.get_by_text("‹ Usage").click()
        assert page.inner_text("h1") == "acme"
        page.goto(site.links.to_usage("older"))
        page.get_by_text("Other cycles").click()
        page.locator("nav").get_by_text("March 2026").click()
        page.get_by_text("Statement 1").click()
        assert page.inner_text("h1") == "Statement 1"
    assert told == []


def test_bars_are_as_high_as_what_they_count(browser: Browser, site: Site) -> None:
    report = httpx.get(
        f"{site.url}/api/v1/customers/acme/usage/report?group_by=day",
        headers={"Authorization": f"Bearer {site.admin}"},
        timeout=10,
    ).json()
    counted = [
        each["fixes"][outcome]
        for each in report["data"]
        for outcome in ("credited", "charged", "held", "reverted")
        if each["fixes"][outcome]
    ]

    with visit(browser, site) as (page, _):
        page.goto(site.pages["usage"])
        boxes = [each.bounding_box() for each in page.locator("figure rect").all()]

    per_fix = [box["height"] / count for box, count in zip(boxes, counted, strict=True) if box]
    assert len(per_fix) == len(counted) > 5
    assert max(per_fix) - min(per_fix) < 0.5  # pixels


def test_a_hostile_name_changes_nothing_but_its_own_line(browser: Browser, site: Site) -> None:
    with visit(browser, site) as (page, told):
        page.goto(site.pages["a hostile name"])

        assert page.inner_text("h1").startswith("<script>alert(")
        assert page.locator("script").count() == 0
        assert page.locator("bdi").first.evaluate("each => getComputedStyle(each).unicodeBidi") in (
            "isolate",
            "plaintext",
        )
    assert told == []


@pytest.mark.parametrize(("host", "framed"), [(PORTAL, True), (STRANGER, False)])
def test_the_page_is_framed_by_the_portal_alone(
    browser: Browser, site: Site, host: str, framed: bool
) -> None:
    with visit(browser, site) as (page, told):
        page.goto(f"http://{host}:{site.portal}/?{site.pages['usage']}", wait_until="networkidle")
        shown = "acme" in page.frames[1].content()

    assert shown is framed
    assert any("frame-ancestors" in each for each in told) is not framed


def test_the_operators_page_looks_again_by_itself(browser: Browser, site: Site) -> None:
    with visit(browser, site) as (page, _):
        page.goto(site.pages["ops"])
        content = page.locator("meta[http-equiv=refresh]").get_attribute("content")
        assert content is not None
        seconds, _, target = content.partition(";url=")
        page.goto(f"{site.url}/{target}")

        assert seconds == "10"
        assert re.search(r"[\d.]+/s", page.inner_text("section"))
        page.get_by_role("link", name="2").first.click()
        assert page.inner_text("h1") == "Quarantine"
