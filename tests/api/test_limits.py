"""What is too large, too deep or no event at all is refused, with its field named."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest

from schemas.inbox import EVENT_BYTES_MAX
from tests.api.client import Api, problem_in
from tests.builders import deployed
from worker.api.bounds import BATCH_BYTES_MAX
from worker.api.limits import BATCH_MAX
from worker.inbox import Inbox

EVENT: dict[str, Any] = json.loads(deployed().to_bytes())


def changed(**changes: object) -> bytes:
    """A sound event with some of it replaced; `data__x` is the field x of data."""
    document = json.loads(json.dumps(EVENT))
    for name, value in changes.items():
        place, _, field = name.rpartition("__")
        target = document[place] if place else document
        if value is ...:
            del target[field]
        else:
            target[field] = value
    return json.dumps(document).encode()


def padded(event: bytes, size: int) -> bytes:
    return event + b" " * (size - len(event))


NOT_AN_EVENT: list[tuple[str, bytes, int, str | None]] = [
    ("nothing", b"", 422, None),
    ("not JSON", b"fix deployed", 422, None),
    ("half of it", deployed().to_bytes()[:-1], 422, None),
    ("two of them", deployed().to_bytes() * 2, 422, None),
    ("not UTF-8", deployed().to_bytes().replace(b"acme", b"acm\xe9"), 422, None),
    ("UTF-16", deployed().to_bytes().decode().encode("utf-16"), 422, None),
    ("a byte order mark", b"\xef\xbb\xbf" + deployed().to_bytes(), 422, None),
    ("NaN", changed(extra=0).replace(b'"extra": 0', b'"extra": NaN'), 422, None),
    ("infinity", changed(extra=0).replace(b'"extra": 0', b'"extra": -Infinity'), 422, None),
    ("a long number", changed(extra=0).replace(b"0}", b"9" * 5000 + b"}"), 422, None),
    ("a string", b'"an event"', 422, None),
    ("a number", b"17", 422, None),
    ("null", b"null", 422, None),
    ("an empty object", b"{}", 422, "specversion"),
    ("an empty array", b"[]", 422, None),
    ("a key twice", b'{"id": "a", "id": "b"}', 422, "id"),
    ("a key twice, deep", b'{"data": {"fix_id": "a", "fix_id": "b"}}', 422, "fix_id"),
    ("nine levels", b'{"a":' * 9 + b"1" + b"}" * 9, 422, None),
    ("500 levels", b"[" * 500 + b"]" * 500, 422, None),
    ("900 levels", b'{"a":' * 900 + b"1" + b"}" * 900, 422, None),
    ("10,000 levels", b"[" * 10_000 + b"]" * 10_000, 422, None),
    ("too large", padded(deployed().to_bytes(), EVENT_BYTES_MAX + 1), 413, None),
    ("too large a batch", padded(b"[1]", BATCH_BYTES_MAX + 1), 413, None),
    ("too many events", b"[%s]" % b",".join([b"1"] * (BATCH_MAX + 1)), 422, None),
]

BAD_FIELD: list[tuple[str, bytes]] = [
    ("specversion", changed(specversion="0.3")),
    ("specversion", changed(specversion=...)),
    ("id", changed(id="")),
    ("id", changed(id="x" * 129)),
    ("id", changed(id=7)),
    ("source", changed(source="a b")),
    ("type", changed(type="com.fixbill.fix.paid.v1")),
    ("time", changed(time="2026-03-01T12:00:00")),
    ("time", changed(time="2026-03-01 12:00:00Z")),
    ("time", changed(time="yesterday")),
    ("time", changed(time=1772366400)),
    ("time", changed(time="2026-02-30T12:00:00Z")),
    ("time", changed(time="2026-03-01T12:00:00Z\n")),
    ("time", changed(time="2026-03-01T12:00:00+99:00")),
    ("time", changed(time="0001-01-01T00:00:00+14:00")),
    ("time", changed(time="9999-12-31T23:59:59-14:00")),
    ("subject", changed(subject=...)),
    ("datacontenttype", changed(datacontenttype="application/xml")),
    ("traceparent", changed(traceparent="00-0-0-0")),
    ("data", changed(data=[])),
    ("data", changed(data=...)),
    ("data.customer_id", changed(data__customer_id="ac me")),
    ("data.customer_id", changed(data__customer_id="acme\n")),
    ("data.customer_id", changed(data__customer_id=["acme"])),
    ("data.fix_id", changed(data__fix_id=...)),
    ("data.repository", changed(data__repository="a\\b")),
    ("data.commit_sha", changed(data__commit_sha="main")),
    ("data.pull_request", changed(data__pull_request="7")),
    ("data.pull_request", changed(data__pull_request=True)),
    ("data.pull_request", changed(data__pull_request=7.0)),
    ("data.pull_request", changed(data__pull_request=0)),
    ("data.pull_request", changed(data__pull_request=2**31)),
    ("data.finding", changed(data__finding={})),
    ("data.price", changed(data__price=1)),
]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [case[1:] for case in NOT_AN_EVENT],
    ids=[case[0] for case in NOT_AN_EVENT],
)
def test_what_is_no_event_is_refused(
    shared_api: Api, body: bytes, status: int, field: str | None
) -> None:
    got = shared_api.post(body)

    assert problem_in(got, status).get("field") == field
    assert Inbox(shared_api.redis).depth().entries == 0


@pytest.mark.parametrize(("field", "body"), BAD_FIELD)
def test_a_bad_field_is_named(shared_api: Api, field: str, body: bytes) -> None:
    got = shared_api.post(body)

    assert problem_in(got, 422)["field"] == field
    assert Inbox(shared_api.redis).depth().entries == 0


@pytest.mark.parametrize(("field", "body"), BAD_FIELD)
def test_a_bad_field_refuses_one_event_of_a_batch_and_is_named(
    shared_api: Api, field: str, body: bytes
) -> None:
    got = shared_api.post([body])

    (result,) = got.json()["results"]
    assert got.status_code == 207
    assert result["status"] == "refused"
    assert result["detail"].startswith(f"{field}: ")


def test_a_subject_that_is_another_fix_is_refused(shared_api: Api) -> None:
    got = shared_api.post(changed(subject="fix-2"))

    assert "subject must equal data.fix_id" in problem_in(got, 422)["detail"]


def test_the_largest_event_and_the_largest_batch_are_taken(api: Api) -> None:
    single = padded(deployed().to_bytes(), EVENT_BYTES_MAX)
    batch = padded(
        b"[%s]" % b",".join(deployed(f"fix-{n}").to_bytes() for n in range(BATCH_MAX)),
        BATCH_BYTES_MAX,
    )

    one, many = api.post(single), api.post(batch)

    assert one.status_code == 202
    assert {each["status"] for each in many.json()["results"]} == {"accepted"}
    assert Inbox(api.redis).depth().entries == 1 + BATCH_MAX


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("limit=1000000000", "bad-field"),
        ("limit=0", "bad-field"),
        ("limit=" + "9" * 5000, "bad-field"),
        ("cursor=" + "x" * 501, "bad-cursor"),
        ("cursor=WzkwMDcxOTkyNTQ3NDA5OTN", "bad-cursor"),
        ("cursor=" + urlsafe_b64encode(b"[" * 300).decode(), "bad-cursor"),
    ],
)
def test_a_huge_page_or_a_cursor_of_nowhere_is_refused(
    shared_api: Api, query: str, kind: str
) -> None:
    for of in ("statements", "fixes", "charges", "transactions", "quarantine", "contests"):
        got = shared_api.ask("GET", f"/api/v1/customers/acme/{of}?{query}", shared_api.signed())

        assert problem_in(got, 422)["type"] == f"urn:fixbill:problem:{kind}"
