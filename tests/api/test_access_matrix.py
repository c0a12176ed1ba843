"""Every operation with every kind of key, after the description of the API.

An operation that is new needs a row in `REQUESTS`: how a good request for it looks. A page that is
not in the description needs one in `PAGES`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import pytest
from httpx import Response

from tests.api.client import Api, Headers, problem_in
from tests.api.inhabited import ACME, GLOBEX, Inhabited, unlimited
from tests.api.signing import signature, webhook
from tests.builders import deployed
from worker.api.access import Doors
from worker.api.app import build_app
from worker.api.description import operations, scopes_of
from worker.keys import SCOPES

APP = build_app(cast(Doors, None))  # only described here
OPERATIONS = {
    each["operationId"]: (method.upper(), path, scopes_of(each))
    for path, method, each in operations(APP.openapi())
}
KEYED = {name: one for name, one in OPERATIONS.items() if one[2] is not None}
OPEN = OPERATIONS.keys() - KEYED.keys()

NOBODY = "nobody"  # has no rows at all


@dataclass(frozen=True)
class Request:
    """What makes an operation succeed; `{}` stands for the customer."""

    ids: dict[str, str]
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    status: int = 200

    def path(self, template: str, customer_id: str, owner: str) -> str:
        """Of this customer, with ids of things of `owner`."""
        ids = {name: value.replace("{}", owner) for name, value in self.ids.items()}
        return template.format(customer_id=customer_id, **ids)


def of(status: int = 200, body: bytes = b"", **ids: str) -> Request:
    return Request(ids, body, status=status)


JSON = (("Content-Type", "application/json"),)
STRIPE_AWAY = 502  # for what needs more of Stripe than there is here

REQUESTS = {
    "track_fix": of(202, deployed("new").to_bytes().replace(b'"acme"', b'"{}"')),
    "usage": of(),
    "report": of(),
    "usage_link": of(201),
    "fixes": of(),
    "fix": of(fix_id="{}-0"),
    "explain_one_fix": of(fix_id="{}-0"),
    "contest": Request({"fix_id": "{}-1"}, b'{"reason": "It broke the build."}', JSON, 201),
    "contests": of(),
    "charges": of(),
    "charge": of(charge_id="ch_{}"),
    "explain_one_charge": of(charge_id="ch_{}"),
    "transactions": of(),
    "balance": of(),
    "next_fix": of(),
    "statements": of(),
    "statement": of(number="1"),
    "statement_html": of(number="1"),
    "quarantine": of(),
    "setup": of(STRIPE_AWAY),
    "recovery": of(201, charge_id="ch_{}"),
}

NONE: Headers = {}

# Without a key; with `x` where a link's token stands. They are pages, so no problems either.
PAGES = {
    ("GET", "/openapi.json"): 200,
    ("GET", "/docs"): 200,
    ("GET", "/metrics"): 200,
    ("GET", "/pay/{token}"): 404,
    ("POST", "/pay/{token}"): 404,
    ("GET", "/pay/{token}/done"): 404,
    ("POST", "/pay/{token}/done"): 404,
    ("GET", "/setup/{outcome}"): 404,
    ("GET", "/statement/{token}"): 404,
    ("GET", "/usage/{token}"): 404,
    ("GET", "/usage/{token}/fixes/{fix_id}"): 404,
    ("GET", "/usage/{token}/charges/{charge_id}"): 404,
    ("GET", "/usage/{token}/statements/{number}"): 404,
    ("GET", "/ops"): 401,
    ("GET", "/ops/inbox"): 401,
    ("GET", "/ops/{name}"): 401,
    ("GET", "/ops/due/{kind}"): 401,
}


@pytest.fixture(scope="module")
def site(shared_api: Api) -> Inhabited:
    return Inhabited(shared_api.behind(limits=unlimited()))


@dataclass(frozen=True)
class Asking:
    """One operation, asked by several."""

    name: str
    site: Inhabited

    def __call__(
        self, headers: Headers, customer_id: str = ACME, owner: str | None = None
    ) -> Response:
        method, template, _ = OPERATIONS[self.name]
        request = REQUESTS[self.name]
        body = request.body.replace(b"{}", customer_id.encode())
        path = request.path(template, customer_id, owner or customer_id)
        return self.site.api.ask(method, path, {**dict(request.headers), **headers}, body)

    def with_key(self, key: str, customer_id: str = ACME, owner: str | None = None) -> Response:
        return self(self.site.api.signed(key), customer_id, owner)


@pytest.fixture(params=KEYED)
def ask(request: pytest.FixtureRequest, site: Inhabited) -> Asking:
    return Asking(request.param, site)


def scopes_for(ask: Asking) -> list[str]:
    return KEYED[ask.name][2] or []


def test_every_operation_has_a_row() -> None:
    assert KEYED.keys() == REQUESTS.keys()
    assert {"healthz", "readyz", "stripe_webhook"} == OPEN


def test_every_page_has_a_row() -> None:
    described = {(method, path) for method, path, _ in OPERATIONS.values()}

    assert {each for each in routes(APP.routes) if each not in described} == PAGES.keys()


def routes(found: Sequence[object]) -> Iterator[tuple[str, str]]:
    """Method and path of each, also of routers within routers."""
    for route in found:
        within = getattr(route, "original_router", None)
        if within is not None:
            yield from routes(within.routes)
        for method in getattr(route, "methods", None) or ():
            if method != "HEAD":
                yield method, getattr(route, "path", "").replace(":int", "")


def test_a_key_of_the_customer_with_the_scope_opens_it(ask: Asking) -> None:
    wanted = REQUESTS[ask.name].status

    for scope in [scopes_for(ask)[0], "admin"]:
        got = ask.with_key(ask.site.api.key(scope, customers=[ACME]))
        assert got.status_code in {wanted, 200}, got.text


def test_f81_a_key_of_another_customer_is_answered_as_if_there_were_none(ask: Asking) -> None:
    key = ask.site.api.key(customers=[GLOBEX])

    got = ask.with_key(key, ACME)
    nobody = ask.with_key(key, NOBODY)

    status = 403 if ask.name == "track_fix" else 404
    same = problem_in(got, status)
    assert same == {**problem_in(nobody, status), "detail": same["detail"]}
    assert same["detail"] == nobody.json()["detail"].replace(NOBODY, ACME)


def test_things_of_another_customer_are_not_found_under_ones_own(ask: Asking) -> None:
    theirs = [value for value in REQUESTS[ask.name].ids.values() if "{}" in value]

    got = ask.with_key(ask.site.api.key(customers=[ACME]), ACME, owner=GLOBEX)

    if theirs:
        assert GLOBEX not in problem_in(got, 404)["detail"].replace(theirs[0].format(GLOBEX), "")
    else:
        assert GLOBEX not in got.text


def test_a_key_without_the_scope_is_refused_whoever_it_asks_about(ask: Asking) -> None:
    wrong = [each for each in SCOPES if each not in [*scopes_for(ask), "admin"]]

    answers = [
        ask.with_key(ask.site.api.key(scope), customer_id)
        for scope in wrong
        for customer_id in (ACME, NOBODY)
    ]

    assert wrong
    for got in answers:
        problem = problem_in(got, 403)
        assert problem["type"].endswith(":wrong-scope")
        assert scopes_for(ask)[0] in problem["detail"]


def test_without_a_key_that_is_in_force_nothing_is_answered(ask: Asking) -> None:
    site = ask.site
    keys = [site.revoked(), site.expired(), "fbk_", "sk_test_1", "\u00e9"]

    answers = [ask({}), *(ask.with_key(key) for key in keys), ask({"Authorization": "Basic eA=="})]

    problems = [problem_in(each, 401) for each in answers]
    assert all(each == problems[0] for each in problems)
    assert all(each.headers["WWW-Authenticate"] == "Bearer" for each in answers)


@pytest.mark.parametrize(("method", "path"), PAGES)
def test_a_page_opens_by_its_own_link_alone(site: Inhabited, method: str, path: str) -> None:
    ids = {"fix_id": "acme-0", "charge_id": "ch_acme", "number": "1"}
    values = {"token": "x", "outcome": "x", "name": "charges", "kind": "charge", **ids}

    answers = [
        site.api.ask(method, path.format_map(values), headers)
        for headers in (NONE, site.api.signed())  # a key is no link
    ]

    assert [each.status_code for each in answers] == [PAGES[method, path]] * 2
    assert not [each for each in answers if ACME in each.text.replace("acme-0", "")] or path in (
        "/docs",
        "/openapi.json",
    )


def test_the_operators_pages_open_by_a_key_for_all_customers_alone(site: Inhabited) -> None:
    key = site.api.key
    keys = {
        "admin": key("admin"),
        "of a customer": key("admin", customers=[ACME]),
        "no admin": key("read", "publish", "revert"),
        "revoked": site.revoked(),
        "expired": site.expired(),
        "unknown": "fbk_0123456789ab_" + "x" * 43,
    }

    statuses = {name: site.api.ask("GET", "/ops", basic(key)) for name, key in keys.items()}

    assert {name for name, got in statuses.items() if got.status_code == 200} == {"admin"}
    assert {got.status_code for got in statuses.values()} == {200, 401}


def basic(key: str) -> Headers:
    return {"Authorization": f"Basic {b64encode(f'me:{key}'.encode()).decode()}"}


def test_a_webhook_opens_by_its_signature_alone(site: Inhabited) -> None:
    body = webhook()
    signed: Headers = {"Stripe-Signature": signature(body)}

    answers = [
        site.api.ask("POST", "/webhooks/stripe", headers, body)
        for headers in (NONE, site.api.signed(), signed)
    ]

    assert [each.status_code for each in answers] == [400, 400, 200]
