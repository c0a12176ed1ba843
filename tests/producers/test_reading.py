from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.reading import FILE_BYTES_MAX, BadFile, events_in
from schemas.events import Event
from tests.producers.fixes import EXAMPLES, any_event, document, fix, some_fixes

ONE = json.dumps(document()).encode()
TWO = [fix("one"), fix("two")]


@pytest.mark.parametrize(
    "body",
    [
        ONE,
        b"\xef\xbb\xbf" + ONE,
        b"\n\n  " + ONE + b"\r\n",
        json.dumps(document(), indent=2).encode(),
        b"[" + ONE + b"]",
    ],
    ids=["plain", "with a byte order mark", "with blank lines", "on many lines", "in an array"],
)
def test_one_event_is_read_however_it_is_written(body: bytes) -> None:
    assert events_in(body) == [fix()]


@pytest.mark.parametrize(
    "body",
    [
        json.dumps([document("one"), document("two")]),
        json.dumps([document("one"), document("two")], indent=2),
        json.dumps(document("one")) + "\n" + json.dumps(document("two")),
        json.dumps(document("one")) + "\r\n\r\n" + json.dumps(document("two")) + "\r\n",
    ],
    ids=["array", "array on many lines", "lines", "lines from Windows"],
)
def test_many_events_are_read_in_their_order(body: str) -> None:
    assert events_in(body.encode()) == TWO


def test_thousands_of_lines_are_read() -> None:
    events = some_fixes(5000)

    assert events_in(b"\n".join(event.to_bytes() for event in events)) == events


@given(st.lists(any_event(), min_size=1, max_size=4))
def test_what_is_written_in_lines_or_an_array_is_read_unchanged(events: list[Event]) -> None:
    bodies = [event.to_bytes() for event in events]

    assert events_in(b"\n".join(bodies)) == events
    assert events_in(b"[" + b",".join(bodies) + b"]") == events


BAD = {
    "nothing": (b"", ["is not JSON"]),
    "an empty array": (b" [ ] ", ["the array holds no events"]),
    "half an event": (ONE[:-20], ["is not JSON"]),
    "half an array": (b"[" + ONE, ["is not JSON"]),
    "a text": (b'"fix"', ["must be a JSON object"]),
    "an array in an array": (b"[[]]", ["event 1: must be a JSON object"]),
    "a price": (json.dumps(document(data__price=1)).encode(), ["data.price: is not part of an"]),
    "no customer": (
        json.dumps(document(data__customer_id=None)).encode(),
        ["data.customer_id: "],
    ),
    "the third of an array": (
        json.dumps([document(), document("two"), document("three", time="yesterday")]).encode(),
        ["event 3: time: must be RFC 3339"],
    ),
    "two of three lines": (
        b"\n" + ONE + b"\n\nnot json\n" + json.dumps(document(id="a b")).encode(),
        ["line 4: is not JSON", "line 5: id: must be 1 to 128"],
    ),
    "not UTF-8": (b'{"id": "\xff"}', ["is not UTF-8 text"]),
    "a line not UTF-8": (ONE + b'\n{"id": "\xff"}', ["line 2: is not UTF-8 text"]),
    "a key twice": (ONE[:-1] + b', "id": "other"}', ["id: stands twice"]),
    "an event of 70 kB": (
        json.dumps(document(comment="x" * 70_000)).encode(),
        ["is 70", "at most 65536"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_as_a_whole_with_the_place_and_the_field(case: str) -> None:
    body, words = BAD[case]

    with pytest.raises(BadFile) as refusal:
        events_in(body)

    for word in words:
        assert word in str(refusal.value)


def test_a_thousand_problems_are_not_all_told() -> None:
    with pytest.raises(BadFile) as refusal:
        events_in(b"\n".join([ONE] + [b"{}"] * 1000))

    assert str(refusal.value).endswith("\nand 990 more")
    assert len(str(refusal.value).splitlines()) == 11


def test_a_file_larger_than_the_limit_is_refused_unread() -> None:
    with pytest.raises(BadFile, match="split it"):
        events_in(b" " * (FILE_BYTES_MAX + 1))


@pytest.mark.parametrize("name", ["event.json", "events.jsonl"])
def test_the_published_examples_are_sound(name: str) -> None:
    assert events_in((EXAMPLES / name).read_bytes())
