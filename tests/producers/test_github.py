from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.github import PAYLOAD_BYTES_MAX, BadPayload, NotMerged, event_from_github
from schemas.events import DEPLOYED, BadEvent, Event, derived_fix_id
from tests.producers.fixes import EXAMPLES, MERGED

Change = Callable[[dict[str, Any]], object]


def example(name: str = MERGED) -> bytes:
    return (EXAMPLES / "github" / name).read_bytes()


def changed(*path: str, to: Any) -> bytes:
    """The merged example with another value in one place."""
    payload = json.loads(example())
    *way, last = path
    place = payload
    for key in way:
        place = place[key]
    place[last] = to
    return json.dumps(payload).encode()


def without(*path: str) -> bytes:
    payload = json.loads(example())
    *way, last = path
    place = payload
    for key in way:
        place = place[key]
    del place[last]
    return json.dumps(payload).encode()


def read(body: bytes, customer: str = "acme", finding: str | None = None) -> Event:
    return event_from_github(body, customer, finding)


def test_a_merged_pull_request_is_a_fix_of_its_customer() -> None:
    event = read(example(), finding="GHSA-35jh-r3h4-6jhm")

    assert event.type == DEPLOYED
    assert event.source == event.data.repository == "github.com/acme-shop/storefront"
    assert event.time.isoformat() == "2026-03-02T09:40:07+00:00"
    assert event.data.commit_sha == "dc556512bdf405648857473e4c58c40fcdedac93"
    assert (event.data.pull_request, event.data.finding) == (1842, "GHSA-35jh-r3h4-6jhm")
    assert event.customer_id == "acme"
    assert event.fix_id == derived_fix_id("github.com", 640118273, 1842, "GHSA-35jh-r3h4-6jhm")


def test_a_workflow_that_runs_again_says_the_same_event() -> None:
    assert read(example()).to_bytes() == read(example()).to_bytes()


def test_a_repository_that_was_renamed_keeps_its_fixes() -> None:
    payload = json.loads(example())
    payload["repository"] |= {"full_name": "acme/shop", "html_url": "https://github.com/acme/shop"}

    renamed = read(json.dumps(payload).encode())

    assert renamed.fix_id == read(example()).fix_id
    assert renamed.source == "github.com/acme/shop"


def test_each_finding_of_a_pull_request_is_a_fix_of_its_own() -> None:
    found = {read(example(), finding=finding).fix_id for finding in (None, "CVE-1", "CVE-2")}

    assert len(found) == 3


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://git.example.com/acme-shop/storefront", "git.example.com"),
        ("https://Git.Example.com:8443/acme-shop/storefront", "git.example.com"),
        ("http://127.0.0.1/acme-shop/storefront", "127.0.0.1"),
    ],
)
def test_a_company_of_its_own_host_counts_its_own_ids(url: str, host: str) -> None:
    event = read(changed("repository", "html_url", to=url))

    assert event.source == f"{host}/acme-shop/storefront"
    assert event.fix_id == derived_fix_id(host, 640118273, 1842)


NOT_A_FIX = {
    "opened": (changed("action", to="opened"), "action", 'is "opened"'),
    "reopened": (changed("action", to="reopened"), "action", 'is "reopened"'),
    "unmerged": (example("closed-unmerged.json"), "pull_request.merged", "without being merged"),
    "release branch": (
        example("merged-into-release-branch.json"),
        "pull_request.base.ref",
        'is "release/7"; the default branch is "main"',
    ),
}


@pytest.mark.parametrize("case", NOT_A_FIX)
def test_what_has_not_reached_the_default_branch_is_no_fix(case: str) -> None:
    body, field, words = NOT_A_FIX[case]

    with pytest.raises(NotMerged) as refusal:
        read(body)

    assert refusal.value.field == field
    assert words in refusal.value.problem


MALFORMED = {
    "no JSON": (b"<html>", "payload", "is not JSON"),
    "nothing": (b"", "payload", "is not JSON"),
    "not UTF-8": (b'{"a": "\xff"}', "payload", "UTF-8"),
    "a list": (b"[]", "payload", "must be a JSON object"),
    "a number": (b"1", "payload", "must be a JSON object"),
    "NaN": (b'{"a": NaN}', "payload", "NaN"),
    "a key twice": (b'{"action": "closed", "action": "opened"}', "action", "twice"),
    "deep": (b'{"a":' * 40 + b"1" + b"}" * 40, "payload", "nested deeper than 32"),
    "very deep": (b"[" * 100_000, "payload", "nested deeper than 32"),
    "a giant number": (b'{"a": ' + b"1" * 5000 + b"}", "payload", "is not JSON"),
    "a push": (b'{"ref": "refs/heads/main"}', "pull_request", "not a pull_request payload"),
    "a review": (changed("review", to={}), "review", "pull_request_review"),
    "a comment": (changed("comment", to={}), "comment", "comment"),
    "a workflow run": (changed("workflow_run", to={}), "workflow_run", "workflow_run"),
    "pull request is a text": (changed("pull_request", to="#1"), "pull_request", "dictionary"),
    "merged is a text": (changed("pull_request", "merged", to="true"), "pull_request.merged", ""),
    "merged is one": (changed("pull_request", "merged", to=1), "pull_request.merged", ""),
    "no merged": (without("pull_request", "merged"), "pull_request.merged", "is required"),
    "no action": (without("action"), "action", "is required"),
    "number is a text": (changed("pull_request", "number", to="1"), "pull_request.number", ""),
    "number is true": (changed("pull_request", "number", to=True), "pull_request.number", ""),
    "number is zero": (changed("pull_request", "number", to=0), "pull_request.number", ""),
    "number is 2^31": (changed("pull_request", "number", to=2**31), "pull_request.number", ""),
    "merged, never": (changed("pull_request", "merged_at", to=None), "pull_request.merged_at", ""),
    "a clock without zone": (
        changed("pull_request", "merged_at", to="2026-03-02T09:40:07"),
        "pull_request.merged_at",
        "RFC 3339",
    ),
    "a time that is a number": (
        changed("pull_request", "merged_at", to=1_700_000_000),
        "pull_request.merged_at",
        "RFC 3339",
    ),
    "no commit": (
        changed("pull_request", "merge_commit_sha", to=None),
        "pull_request.merge_commit_sha",
        "is null",
    ),
    "a commit of words": (
        changed("pull_request", "merge_commit_sha", to="HEAD"),
        "pull_request.merge_commit_sha",
        "",
    ),
    "repository id is a text": (changed("repository", "id", to="7"), "repository.id", ""),
    "repository id is a float": (changed("repository", "id", to=7.5), "repository.id", ""),
    "repository without id": (without("repository", "id"), "repository.id", "is required"),
    "base of another repository": (
        changed("pull_request", "base", "repo", to={"id": 7}),
        "pull_request.base.repo.id",
        "another repository",
    ),
    "a branch that is no text": (
        changed("pull_request", "base", "ref", to="\ud800"),
        "pull_request.base.ref",
        "surrogates",
    ),
    "a name that is a path": (
        changed("repository", "full_name", to="../../etc"),
        "repository.full_name",
        "",
    ),
    "a name with a newline": (
        changed("repository", "full_name", to="a/b\nc"),
        "repository.full_name",
        "",
    ),
    "a page elsewhere": (
        changed("repository", "html_url", to="https://github.com/someone/else"),
        "repository.html_url",
        "must be the repository's page",
    ),
    "a page that is a script": (
        changed("repository", "html_url", to="javascript:alert(1)"),
        "repository.html_url",
        "must be the repository's page",
    ),
    "a host with spaces": (
        changed("repository", "html_url", to="https://git hub/acme-shop/storefront"),
        "repository.html_url",
        "",
    ),
    "a host that is none": (
        changed("repository", "html_url", to="https://[github/acme-shop/storefront"),
        "repository.html_url",
        "must be the repository's page",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_payload_that_is_not_sound_is_refused_by_the_name_of_its_field(case: str) -> None:
    body, field, words = MALFORMED[case]

    with pytest.raises(BadPayload) as refusal:
        read(body)

    assert refusal.value.field == field
    assert words in refusal.value.problem
    assert str(refusal.value).isprintable()


def test_a_payload_larger_than_any_webhook_is_refused_unread() -> None:
    with pytest.raises(BadPayload, match=f"at most {PAYLOAD_BYTES_MAX} are taken"):
        read(b" " * (PAYLOAD_BYTES_MAX + 1))


def test_a_large_payload_is_read() -> None:
    body = changed("pull_request", "body", to="x" * 1_000_000)

    assert read(body) == read(example())


@pytest.mark.parametrize("customer", ["", "acme corp", "a" * 129, "аcme", "a\x1b[2J"])
def test_a_customer_id_that_is_none_is_named(customer: str) -> None:
    with pytest.raises(BadPayload) as refusal:
        read(example(), customer)

    assert refusal.value.field == "customer"


def test_a_finding_that_is_no_id_is_named() -> None:
    with pytest.raises(BadPayload) as refusal:
        read(example(), finding="CVE 1")

    assert refusal.value.field == "finding"


@pytest.mark.parametrize("branch", ["\x1b]0;owned\x07\u202emain", "x" * 1024, "mаin"])
def test_a_hostile_branch_reaches_no_terminal(branch: str) -> None:
    with pytest.raises(NotMerged) as refusal:
        read(changed("pull_request", "base", "ref", to=branch))

    assert str(refusal.value).isascii()
    assert str(refusal.value).isprintable()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
PLACES = [
    ("action",),
    ("pull_request",),
    ("pull_request", "number"),
    ("pull_request", "merged"),
    ("pull_request", "merged_at"),
    ("pull_request", "merge_commit_sha"),
    ("pull_request", "base"),
    ("pull_request", "base", "ref"),
    ("pull_request", "base", "repo"),
    ("repository",),
    ("repository", "id"),
    ("repository", "full_name"),
    ("repository", "html_url"),
    ("repository", "default_branch"),
]


@given(st.sampled_from(PLACES), json_values)
def test_any_value_in_any_place_is_read_or_refused(place: tuple[str, ...], value: Any) -> None:
    with contextlib.suppress(BadEvent):
        assert read(changed(*place, to=value)).fix_id.startswith("drv1_")


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_a_sentence(body: bytes) -> None:
    with pytest.raises(BadPayload):
        read(body)


def test_the_published_example_event_is_what_the_published_payload_gives() -> None:
    published = json.loads((EXAMPLES / "event.json").read_bytes())

    event = read(example(), finding="GHSA-35jh-r3h4-6jhm")

    assert published == json.loads(event.to_bytes())
