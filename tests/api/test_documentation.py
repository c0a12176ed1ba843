"""The pages about the API say what is so."""

from __future__ import annotations

import re
from typing import cast

import pytest

from schemas.problems import TYPES, USUAL, usual_type
from tests.test_documentation import ROOT, named, rows
from worker.api.access import Doors
from worker.api.app import build_app
from worker.api.description import operations, scopes_of
from worker.api.limits import BURST_SECONDS, EVENTS_PER_SECOND, GUESSES, READS_PER_SECOND


def test_every_problem_is_listed_with_what_to_do() -> None:
    assert rows("docs/problems.md", "Types") == [
        [f"`{each.uri}`", str(each.status), each.meaning, each.remedy] for each in TYPES
    ]


def test_every_problem_has_a_name_of_its_own_and_an_error_for_a_status() -> None:
    assert len({each.uri for each in TYPES}) == len(TYPES)
    assert all(400 <= each.status < 600 for each in TYPES)
    assert all(re.fullmatch(r"urn:fixbill:problem:[a-z]+(-[a-z]+)*", each.uri) for each in TYPES)
    assert all(status == each.status for status, each in USUAL.items())


@pytest.mark.parametrize("status", [*range(400, 452), 500, 501, 502, 503, 504])
def test_whatever_the_status_there_is_a_type(status: int) -> None:
    assert usual_type(status).status // 100 == status // 100


def test_every_operation_is_listed_with_its_scopes() -> None:
    description = build_app(cast(Doors, None)).openapi()
    listed = {named(operation)[0]: named(scope) for operation, scope, _ in endpoints()}

    assert listed == {
        f"{method.upper()} {path}": scopes_of(each) or []
        for path, method, each in operations(description)
    }
    assert all(words for *_, words in endpoints())


def endpoints() -> list[list[str]]:
    return rows("docs/api.md", "Endpoints")


def test_every_rate_is_listed() -> None:
    (_, reads, burst, _), (_, events, most, _), (_, _, guesses, _) = rows("docs/api.md", "Rates")

    assert [reads, burst] == figures(READS_PER_SECOND)
    assert [events, most] == figures(EVENTS_PER_SECOND)
    assert guesses == str(GUESSES)


def figures(per_second: float) -> list[str]:
    return [f"{per_second:,.0f}", f"{per_second * BURST_SECONDS:,.0f}"]


def test_every_item_of_owasp_names_a_test_that_exists() -> None:
    listed = rows("docs/owasp.md", "Items")

    assert [item.partition(" ")[0] for item, *_ in listed] == [f"API{n}" for n in range(1, 11)]
    missing = [
        name for *_, tests in listed for name in named(tests) if not is_test(*name.split("::"))
    ]
    assert missing == []
    assert all(named(tests) for *_, tests in listed)


def is_test(path: str, name: str) -> bool:
    file = ROOT / path
    return file.exists() and f"def {name}(" in file.read_text()
