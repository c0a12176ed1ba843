from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from schemas.events import DEPLOYED, REVERTED, BadEvent, Event, FixData, new_event, parse_event
from schemas.inbox import EVENT_BYTES_MAX
from tests.builders import NOW, deployed, reverted

ID_RULE = "must be 1 to 128 of the characters"
A = "a" * 129


def good() -> dict[str, Any]:
    """A good event, as parsed JSON."""
    return {
        "specversion": "1.0",
        "id": "evt-1",
        "source": "github.com/acme/shop",
        "type": DEPLOYED,
        "time": "2026-03-15T12:00:00Z",
        "subject": "fix-1",
        "data": {
            "customer_id": "acme",
            "fix_id": "fix-1",
            "repository": "acme/shop",
            "commit_sha": "0123abcd",
        },
    }


def with_(**changed: Any) -> bytes:
    """The good event with these attributes; None removes one. `data__x` is x inside data."""
    event = good()
    for name, value in changed.items():
        target = event["data"] if name.startswith("data__") else event
        key = name.removeprefix("data__")
        if value is None:
            del target[key]
        else:
            target[key] = value
    return json.dumps(event).encode()


BAD: dict[str, tuple[bytes, str, str]] = {
    # Not an event at all.
    "empty": (b"", "", "is not JSON"),
    "text": (b"hello", "", "is not JSON"),
    "a number": (b"1", "", "must be a JSON object"),
    "null": (b"null", "", "must be a JSON object"),
    "a string": (b'"event"', "", "must be a JSON object"),
    "a list of events": (b"[" + with_() + b"]", "", "must be a JSON object"),
    "an empty object": (b"{}", "specversion", "is required"),
    "two objects": (with_() + with_(), "", "is not JSON"),
    "cut off": (with_()[:-1], "", "is not JSON"),
    "latin-1": (with_(id="x").replace(b'"x"', b'"\xe4"'), "", "is not UTF-8 text"),
    "UTF-16": (with_().decode().encode("utf-16"), "", "is not UTF-8 text"),
    "a byte order mark": (b"\xef\xbb\xbf" + with_(), "", "is not JSON"),
    "too large": (with_(note="x" * EVENT_BYTES_MAX), "", "bytes; at most 65536 are taken"),
    "not a number": (with_(data__pull_request=7).replace(b"7}", b"NaN}"), "", "NaN is not JSON"),
    "infinity": (with_(data__pull_request=7).replace(b"7}", b"-Infinity}"), "", "-Infinity is not"),
    "a number of 5,000 digits": (
        with_(data__pull_request=7).replace(b"7}", b"7" * 5000 + b"}"),
        "",
        "is not JSON",
    ),
    "nine levels": (with_(note=[[[[[[[[1]]]]]]]]), "", "nested deeper than 8"),
    "a thousand levels": (b'{"a":' * 1000 + b"1" + b"}" * 1000, "", "nested deeper than 8"),
    "thirty thousand levels": (b"[" * 30_000 + b"]" * 30_000, "", "nested deeper than 8"),
    "an id twice": (with_()[:-1] + b',"id":"evt-2"}', "id", "stands twice"),
    "a fix twice": (
        with_().replace(b'"fix_id"', b'"fix_id":"fix-2","fix_id"'),
        "fix_id",
        "stands twice",
    ),
    # CloudEvents attributes.
    "another spec": (with_(specversion="0.3"), "specversion", "Input should be '1.0'"),
    "a spec that is a number": (with_(specversion=1.0), "specversion", "Input should be '1.0'"),
    "no id": (with_(id=None), "id", "is required"),
    "an empty id": (with_(id=""), "id", ID_RULE),
    "a long id": (with_(id=A), "id", ID_RULE),
    "an id with a space": (with_(id="a b"), "id", ID_RULE),
    "an id with a line end": (with_(id="evt-1\n"), "id", ID_RULE),
    "an id with a zero byte": (with_(id="evt\x00"), "id", ID_RULE),
    "an id that looks like another": (with_(id="\u0430cme"), "id", ID_RULE),
    "an id of half a character": (with_(id="\ud800"), "id", "must be text without lone surrogates"),
    "an id that is a number": (with_(id=1), "id", "valid string"),
    "no source": (with_(source=None), "source", "is required"),
    "an empty source": (with_(source=""), "source", "match pattern"),
    "a source with a space": (with_(source="a b"), "source", "match pattern"),
    "a long source": (with_(source="s" * 257), "source", "match pattern"),
    "no type": (with_(type=None), "type", "is required"),
    "another type": (with_(type="com.fixbill.fix.exploded.v1"), "type", "Input should be"),
    "a later version": (with_(type="com.fixbill.fix.deployed.v2"), "type", "Input should be"),
    "no subject": (with_(subject=None), "subject", "is required"),
    "another subject": (with_(subject="fix-2"), "", "subject must equal data.fix_id"),
    "XML": (with_(datacontenttype="application/xml"), "datacontenttype", "application/json"),
    "a bad trace": (with_(traceparent="00-1-2-01"), "traceparent", "match pattern"),
    "a trace in capitals": (
        with_(traceparent=f"00-{'A' * 32}-{'B' * 16}-01"),
        "traceparent",
        "match pattern",
    ),
    # Times.
    "no time": (with_(time=None), "time", "is required"),
    "a time without a zone": (with_(time="2026-03-15T12:00:00"), "time", "RFC 3339 with a zone"),
    "a day": (with_(time="2026-03-15"), "time", "RFC 3339 with a zone"),
    "a unix time": (with_(time=1773576000), "time", "RFC 3339 text"),
    "a unix time in words": (with_(time="1773576000"), "time", "RFC 3339 with a zone"),
    "a time with a line end": (with_(time="2026-03-15T12:00:00Z\n"), "time", ""),
    "nanoseconds": (with_(time="2026-03-15T12:00:00.123456789Z"), "time", "RFC 3339"),
    "a day that is none": (with_(time="2026-02-30T12:00:00Z"), "time", ""),
    "an hour that is none": (with_(time="2026-03-15T25:00:00Z"), "time", ""),
    "a zone that is none": (with_(time="2026-03-15T12:00:00+99:00"), "time", ""),
    "the year zero": (with_(time="0000-01-01T00:00:00Z"), "time", ""),
    "before time began": (with_(time="0001-01-01T00:00:00+14:00"), "time", ""),
    "after time ends": (with_(time="9999-12-31T23:59:59-14:00"), "time", ""),
    "Arabic digits": (with_(time="\u0662\u0660\u0662\u0666-03-15T12:00:00Z"), "time", ""),
    # Data.
    "no data": (with_(data=None), "data", "is required"),
    "data in words": (with_(data="{}"), "data", "valid dictionary"),
    "data that is null": (json.dumps(good() | {"data": None}).encode(), "data", "valid dictionary"),
    "no customer": (with_(data__customer_id=None), "data.customer_id", "is required"),
    "a customer with a quote": (with_(data__customer_id="a'; --"), "data.customer_id", ID_RULE),
    "no fix": (with_(data__fix_id=None), "data.fix_id", "is required"),
    "a fix with a slash": (with_(data__fix_id="a/b", subject="a/b"), "subject", ID_RULE),
    "no repository": (with_(data__repository=None), "data.repository", "is required"),
    "a repository with a space": (
        with_(data__repository="a b"),
        "data.repository",
        "match pattern",
    ),
    "no commit": (with_(data__commit_sha=None), "data.commit_sha", "is required"),
    "a short commit": (with_(data__commit_sha="012345"), "data.commit_sha", "match pattern"),
    "a commit that is none": (
        with_(data__commit_sha="main-branch"),
        "data.commit_sha",
        "match pattern",
    ),
    "a pull request of nothing": (with_(data__pull_request=0), "data.pull_request", "greater than"),
    "a negative pull request": (with_(data__pull_request=-1), "data.pull_request", "greater than"),
    "a huge pull request": (with_(data__pull_request=2**31), "data.pull_request", "less than"),
    "a pull request in words": (
        with_(data__pull_request="7"),
        "data.pull_request",
        "valid integer",
    ),
    "half a pull request": (with_(data__pull_request=7.0), "data.pull_request", "valid integer"),
    "a true pull request": (with_(data__pull_request=True), "data.pull_request", "valid integer"),
    "a finding with a space": (with_(data__finding="a b"), "data.finding", ID_RULE),
    "a price": (with_(data__price=1), "data.price", "is not part of an event; remove it"),
    "a field nobody can print": (with_(**{"data__\u202e\x1b[2J": 1}), "data.??[2J", "remove it"),
    "a field of half a character": (with_(**{"data__\ud800": 1}), "data", ""),
}


@pytest.mark.parametrize(("body", "field", "problem"), BAD.values(), ids=BAD)
def test_a_bad_event_is_told_by_its_field(body: bytes, field: str, problem: str) -> None:
    with pytest.raises(BadEvent) as refused:
        parse_event(body)

    assert refused.value.field.startswith(field) if field else refused.value.field == ""
    assert problem in str(refused.value)
    assert_printable(refused.value)


def assert_printable(error: BadEvent) -> None:
    text = str(error)
    assert text
    assert all(" " <= char <= "~" for char in text)
    assert len(text) < 600


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    secret = "hunter2 and the rest"

    with pytest.raises(BadEvent) as refused:
        parse_event(with_(id=secret, data__customer_id=secret))

    assert "hunter2" not in str(refused.value)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([*good()["data"].values(), DEPLOYED, "1.0"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from([*good(), "traceparent", "datacontenttype", "extra"])
DATA = st.sampled_from([*good()["data"], "pull_request", "finding", "price"])


@st.composite
def almost_good(draw: st.DrawFn) -> bytes:
    """The good event with something odd in some place."""
    event = good()
    for name in draw(st.lists(NAMES, max_size=2)):
        event[name] = draw(JSON)
    if isinstance(event["data"], dict):
        for name in draw(st.lists(DATA, max_size=2)):
            event["data"][name] = draw(JSON)
    return json.dumps(event).encode()


def only_an_event_or_a_refusal(body: bytes) -> None:
    try:
        event = parse_event(body)
    except BadEvent as error:
        assert_printable(error)
    else:
        assert isinstance(event, Event)
        assert parse_event(event.to_bytes()) == event


FUZZ = settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])


@FUZZ
@given(st.binary(max_size=300))
@example(b"\xef\xbb\xbf{}")
@example(b'"\\ud800"')
def test_any_bytes_are_an_event_or_refused(body: bytes) -> None:
    outcome = only_an_event_or_a_refusal

    outcome(body)

    assert len(body) <= 300


@FUZZ
@given(almost_good())
def test_an_event_that_is_almost_good_is_an_event_or_refused(body: bytes) -> None:
    outcome = only_an_event_or_a_refusal

    outcome(body)

    assert body.startswith(b"{")


@settings(FUZZ, max_examples=150)
@given(st.integers(1, 1200), st.sampled_from([(b"[", b"]"), (b'{"a":', b"}")]))
@example(960, (b"[", b"]"))
@example(990, (b'{"a":', b"}"))
def test_any_depth_is_refused_and_nothing_else(depth: int, brackets: tuple[bytes, bytes]) -> None:
    opening, closing = brackets

    with pytest.raises(BadEvent) as refused:
        parse_event(opening * depth + b"1" + closing * depth)

    assert_printable(refused.value)


@settings(FUZZ, max_examples=150)
@given(
    make=st.sampled_from([deployed, reverted]),
    fix_id=st.from_regex(r"[A-Za-z0-9._:-]{1,128}", fullmatch=True),
    customer_id=st.from_regex(r"[A-Za-z0-9._:-]{1,128}", fullmatch=True),
    at=st.datetimes(timezones=st.just(UTC)),
    pull_request=st.none() | st.integers(1, 2**31 - 1),
    commit_sha=st.from_regex(r"[0-9a-f]{7,64}", fullmatch=True),
)
def test_an_event_survives_the_wire(
    make: Callable[..., Event],
    fix_id: str,
    customer_id: str,
    at: datetime,
    pull_request: int | None,
    commit_sha: str,
) -> None:
    event = make(
        fix_id, customer_id, at=at, pull_request=pull_request, commit_sha=commit_sha, id="e"
    )

    read = parse_event(event.to_bytes())

    assert read == event
    assert read.body_hash == event.body_hash
    assert read.time.utcoffset() == timedelta(0)


def test_an_event_says_what_it_is_about() -> None:
    body = with_(type=REVERTED, data__commit_sha="ABCDEF0", data__pull_request=7)

    event = parse_event(body)

    assert (event.customer_id, event.fix_id, event.reverts) == ("acme", "fix-1", True)
    assert (event.data.commit_sha, event.data.pull_request) == ("abcdef0", 7)


@pytest.mark.parametrize(
    "time",
    [
        "2026-03-15T12:00:00Z",
        "2026-03-15T12:00:00+00:00",
        "2026-03-15T13:00:00+01:00",
        "2026-03-15T06:30:00-05:30",
        "2026-03-15T12:00:00.000Z",
        "2026-03-15T12:00:00.0Z",
    ],
)
def test_a_time_of_any_zone_is_kept_in_utc(time: str) -> None:
    event = parse_event(with_(time=time))

    kept = event.time

    assert kept == NOW
    assert kept.tzinfo == UTC


def test_other_attributes_are_allowed_and_ignored() -> None:
    body = with_(dataschema="https://example.com/s", partitionkey="x", note={"a": [1]})

    event = parse_event(body)

    assert event == parse_event(with_())


SAME_BODY: dict[str, Event] = {
    "another id": deployed(id="other"),
    "another source": deployed(source="gitlab.com/acme/shop"),
    "another time": deployed(at=NOW - timedelta(days=1)),
    "a commit in capitals": deployed(commit_sha="0123ABCD"),
}
OTHER_BODY: dict[str, Event] = {
    "a revert": reverted(),
    "another customer": deployed(customer_id="globex"),
    "another fix": deployed("fix-2"),
    "another repository": deployed(repository="acme/api"),
    "another commit": deployed(commit_sha="0123abce"),
    "a pull request": deployed(pull_request=1),
    "a finding": deployed(finding="1"),
    "moved over the edge": deployed("fix-1acme", customer_id="shop", repository="acme"),
}


@pytest.mark.parametrize("other", SAME_BODY.values(), ids=SAME_BODY)
def test_the_hash_is_of_the_body_alone(other: Event) -> None:
    first = deployed()

    hashes = {first.body_hash, other.body_hash}

    assert len(hashes) == 1


@pytest.mark.parametrize("other", OTHER_BODY.values(), ids=OTHER_BODY)
def test_the_hash_changes_with_the_body(other: Event) -> None:
    first = deployed()

    hashes = {first.body_hash, other.body_hash}

    assert len(hashes) == 2


def test_a_pull_request_and_a_finding_are_not_confused() -> None:
    as_request, as_finding = deployed(pull_request=7), deployed(finding="7")

    hashes = {as_request.body_hash, as_finding.body_hash}

    assert len(hashes) == 2


DATA_OF_ACME = FixData(
    customer_id="acme", fix_id="fix-1", repository="acme/shop", commit_sha="0123abcd"
)


def test_a_new_event_has_an_id_of_its_own() -> None:
    events = [new_event(source="s", time=NOW, data=DATA_OF_ACME) for _ in range(2)]

    ids = {each.id for each in events}

    assert len(ids) == 2
    assert all(each.startswith("evt_") for each in ids)
    assert {each.type for each in events} == {DEPLOYED}


def test_a_new_event_keeps_the_id_it_is_given_and_its_time_in_utc() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=9)))

    event = new_event(source="s", time=elsewhere, data=DATA_OF_ACME, id="mine", type=REVERTED)

    assert (event.id, event.subject, event.type) == ("mine", "fix-1", REVERTED)
    assert event.time.isoformat() == "2026-03-15T12:00:00+00:00"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"source": ""}, "source"), ({"time": datetime(2026, 1, 1)}, "time"), ({"id": "a b"}, "id")],  # noqa: DTZ001
    ids=["source", "naive time", "id"],
)
def test_a_new_event_that_would_be_bad_is_refused_at_once(
    wrong: dict[str, Any], field: str
) -> None:
    facts: dict[str, Any] = {"source": "s", "time": NOW, "data": DATA_OF_ACME} | wrong

    with pytest.raises(BadEvent) as refused:
        new_event(**facts)

    assert refused.value.field == field
