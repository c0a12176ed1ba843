"""Who may do what: a key is known, in force, of the right scope, and bound to the customer."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.api.client import TRACK_FIX, Api, Headers, problem_in
from tests.builders import add_customer, deployed, outcomes, reverted, rows_of
from worker.inbox import Inbox
from worker.keys import PATTERN
from worker.storage import tables
from worker.storage.api_keys import revoke_key

USAGE = "/api/v1/customers/acme/usage"
ENDPOINTS = [("POST", TRACK_FIX), ("GET", USAGE)]


def another_secret(key: str) -> str:
    """The same key id with a secret that differs in one character."""
    return key[:-1] + ("A" if key[-1] != "A" else "B")


BAD: dict[str, Headers] = {
    "none": {},
    "empty": {"Authorization": ""},
    "no scheme": {"Authorization": "fbk_0123456789ab_" + "x" * 43},
    "another scheme": {"Authorization": "Basic Zml4OmJpbGw="},
    "nothing after the scheme": {"Authorization": "Bearer "},
    "no key": {"Authorization": "Bearer secret"},
    "too long": {"Authorization": "Bearer fbk_" + "0" * 10_000},
    "another product's key": {"Authorization": "Bearer sk_test_0123456789abcdef"},
    "unknown": {"Authorization": "Bearer fbk_0123456789ab_" + "x" * 43},
    "not ASCII": {"Authorization": b"Bearer fbk_\xe9\xff_"},
}


@pytest.mark.parametrize(("method", "path"), ENDPOINTS, ids=["track_fix", "usage"])
@pytest.mark.parametrize("headers", BAD.values(), ids=BAD)
def test_without_a_good_key_nothing_is_answered(
    shared_api: Api, method: str, path: str, headers: Headers
) -> None:
    got = shared_api.ask(method, path, headers, deployed().to_bytes())

    problem = problem_in(got, 401)
    assert got.headers["WWW-Authenticate"] == "Bearer"
    assert "valid API key" in problem["detail"]
    assert Inbox(shared_api.redis).depth().entries == 0


@pytest.mark.parametrize(("method", "path"), ENDPOINTS, ids=["track_fix", "usage"])
def test_a_key_that_is_not_in_force_opens_nothing(shared_api: Api, method: str, path: str) -> None:
    good = shared_api.key()
    revoked = shared_api.key()
    past = shared_api.doors.clock.wall() - timedelta(seconds=1)
    expired = shared_api.key(expires_at=past)
    with shared_api.engine.begin() as tx:
        found = PATTERN.fullmatch(revoked)
        assert found is not None
        assert revoke_key(tx, found[1], past)

    answers = [
        shared_api.ask(method, path, shared_api.signed(key), deployed().to_bytes())
        for key in (another_secret(good), revoked, expired)
    ]

    problems = [problem_in(each, 401) for each in answers]
    assert problems[0] == problems[1] == problems[2]
    assert Inbox(shared_api.redis).depth().entries == 0


def test_a_revoked_key_is_refused_from_its_next_request_on(shared_api: Api) -> None:
    key = shared_api.key("read")
    before = shared_api.usage("nobody", key)
    found = PATTERN.fullmatch(key)
    assert found is not None

    with shared_api.engine.begin() as tx:
        revoke_key(tx, found[1], shared_api.doors.clock.wall())

    problem_in(before, 404)
    problem_in(shared_api.usage("nobody", key), 401)


def test_a_key_expires_by_the_wall_clock_not_by_business_time(shared_api: Api) -> None:
    soon = shared_api.doors.clock.wall() + timedelta(minutes=1)
    key = shared_api.key("read", expires_at=soon)

    got = shared_api.usage("nobody", key)

    problem_in(got, 404)


@pytest.mark.parametrize(
    ("scopes", "event", "needed"),
    [
        (["read"], deployed(), "publish or revert"),
        (["revert"], deployed(), "publish"),
        (["read"], reverted(), "publish or revert"),
        (["publish"], reverted(), "revert"),
    ],
)
def test_an_event_needs_the_scope_of_its_kind(
    shared_api: Api, scopes: list[str], event: object, needed: str
) -> None:
    key = shared_api.key(*scopes)

    got = shared_api.post(event, key=key)

    assert f"it needs the scope {needed}" in problem_in(got, 403)["detail"]
    assert Inbox(shared_api.redis).depth().entries == 0


def test_a_key_bound_to_customers_bills_no_other(api: Api) -> None:
    for customer_id in ("acme", "globex", "initech"):
        add_customer(api.engine, customer_id)
    key = api.key("publish", customers=["acme", "globex"])

    answers = {
        customer_id: api.post(deployed("fix-1", customer_id), key=key).status_code
        for customer_id in ("acme", "globex", "initech", "Acme")
    }
    api.settled()

    assert answers == {"acme": 202, "globex": 202, "initech": 403, "Acme": 403}
    assert outcomes(api.engine, "initech") == {}
    assert {row["customer_id"] for row in rows_of(api.engine, tables.fixes)} == {"acme", "globex"}


@pytest.mark.parametrize("scope", ["publish", "revert"])
def test_usage_needs_the_scope_read(shared_api: Api, scope: str) -> None:
    got = shared_api.usage("acme", shared_api.key(scope))

    assert "scope read" in problem_in(got, 403)["detail"]


def test_admin_may_do_it_all(api: Api) -> None:
    add_customer(api.engine)
    key = api.key("admin")

    answers = [api.post(deployed(), key=key), api.post(reverted(), key=key), api.usage("acme", key)]

    assert [each.status_code for each in answers] == [202, 202, 200]


def test_a_key_is_never_shown_again(api: Api) -> None:
    add_customer(api.engine)
    secret = api.admin.rpartition("_")[2] if api.admin.count("_") == 2 else api.admin[17:]

    answers = [api.usage(), api.usage("nobody"), api.post(b"{}"), api.post(deployed())]

    assert not [each for each in answers if secret in each.text or secret in str(each.headers)]
    stored = str(rows_of(api.engine, tables.api_keys))
    assert secret not in stored
