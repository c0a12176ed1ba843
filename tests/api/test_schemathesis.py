"""Requests made from the description of the API, sound ones and others: none fails on our side.

`FUZZ_CASES` says how many are made; `make check` makes more of them than `make test`.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, GenerationMode, checks
from schemathesis import Case as AnyCase
from schemathesis.core.result import Ok

from tests.api.client import Api
from tests.api.inhabited import ACME, Inhabited, unlimited
from worker.api.app import build_app

Operation = APIOperation[Any, Any, Any, Any]
Case = AnyCase[Any]

FEW = 300
CASES = int(os.environ.get("FUZZ_CASES", FEW))
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
    checks.ignored_auth,
]
MULTI_STATUS = 207  # of a batch: what is wrong with an event is told in its receipt
STRIPE_AWAY = 502  # Stripe is nowhere in these tests, and what needs it says so
IDS = {"customer_id": ACME, "fix_id": "acme-1", "charge_id": "ch_acme", "number": 1}


@pytest.fixture(scope="module")
def site(shared_api: Api) -> Inhabited:
    return Inhabited(shared_api.behind(limits=unlimited()))


def test_whatever_is_asked_is_answered_as_described(site: Inhabited) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", build_app(site.api.doors))
    operations: list[Operation] = [
        each.ok() for each in schema.get_all_operations() if isinstance(each, Ok)
    ]
    statuses: Counter[int] = Counter()

    for operation in operations:
        ask(operation, CASES // len(operations), site.api.admin, statuses)

    assert statuses.keys() >= {200, 201, 202, 401, 404, 422}
    assert statuses.total() > CASES // 2  # some can be asked in one way only


def ask(operation: Operation, cases: int, key: str, statuses: Counter[int]) -> None:
    headers = {"Authorization": f"Bearer {key}"}

    @settings(
        max_examples=cases,
        derandomize=CASES == FEW,
        phases=[Phase.generate],  # what fails is printed as it was sent
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases_of(operation))
    def answered(case: Case) -> None:
        response = case.call(headers=headers)
        statuses[response.status_code] += 1
        if response.status_code != STRIPE_AWAY:
            case.validate_response(response, checks=CHECKS, headers=headers)
        if response.status_code not in (STRIPE_AWAY, MULTI_STATUS):
            case.validate_response(response, checks=[checks.negative_data_rejection])

    answered()


def cases_of(operation: Operation) -> st.SearchStrategy[Case]:
    """Sound ones, half of them about what is there, and others."""
    sound, unsound = (
        operation.as_strategy(generation_mode=mode)
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    )
    return st.one_of(sound, sound.map(about_what_is_there), unsound)


def about_what_is_there(case: Case) -> Case:
    case.path_parameters |= {name: IDS[name] for name in case.path_parameters}
    return case
