from __future__ import annotations

import re
import time
from collections import Counter
from uuid import UUID

import pytest

from schemas.events import derived_fix_id
from schemas.ids import new_id
from schemas.inbox import PARTITIONS, partition_of, stream_of


def test_an_id_is_its_kind_and_a_uuid_of_version_seven() -> None:
    before = time.time_ns() // 1_000_000

    made = new_id("ch")

    prefix, _, digits = made.partition("_")
    uuid = UUID(hex=digits)
    assert prefix == "ch"
    assert re.fullmatch(r"[0-9a-f]{32}", digits)
    assert (uuid.version, uuid.variant) == (7, "specified in RFC 4122")
    assert before <= uuid.int >> 80 <= time.time_ns() // 1_000_000


def test_ids_sort_by_when_they_were_made() -> None:
    made = []

    for _ in range(3):
        made.append(new_id("evt"))
        now = time.time_ns() // 1_000_000
        while time.time_ns() // 1_000_000 == now:
            pass

    assert made == sorted(made)


def test_ids_do_not_repeat() -> None:
    how_many = 20_000

    made = {new_id("evt") for _ in range(how_many)}

    assert len(made) == how_many


# Producers choose the stream: these numbers are part of the contract and never change.
@pytest.mark.parametrize(
    ("customer_id", "partition"),
    [("acme", 13), ("globex", 13), ("initech", 2), ("a", 2), ("customer-1", 12), ("x" * 128, 1)],
)
def test_a_customer_has_always_had_the_same_partition(customer_id: str, partition: int) -> None:
    chosen = customer_id

    found = partition_of(chosen)

    assert found == partition


def test_customers_spread_over_all_partitions() -> None:
    how_many = 16_000

    found = Counter(partition_of(f"customer-{number}") for number in range(how_many))

    assert set(found) == set(range(PARTITIONS))
    assert max(found.values()) < 1.2 * how_many / PARTITIONS


def test_a_stream_is_named_by_its_partition_in_a_hash_tag() -> None:
    names = [stream_of(number) for number in (0, 15)]

    tags = [re.findall(r"\{(\d+)\}", name) for name in names]

    assert names == ["inbox:{0}", "inbox:{15}"]
    assert tags == [["0"], ["15"]]


def test_a_derived_fix_id_has_always_been_the_same() -> None:
    facts = ("github.com", 42, 7, "CVE-1")

    made = derived_fix_id(*facts)

    assert made == "drv1_12b70367d75bd0cd46b9cf4273d59debd6e598b9"


@pytest.mark.parametrize(
    "other",
    [
        ("gitlab.com", 42, 7, "CVE-1"),
        ("github.com", 43, 7, "CVE-1"),
        ("github.com", 42, 8, "CVE-1"),
        ("github.com", 42, 7, "CVE-2"),
        ("github.com", 42, 7, ""),
        ("github.com", 4, 27, "CVE-1"),
    ],
    ids=str,
)
def test_another_pull_request_has_another_derived_fix_id(
    other: tuple[str, int, int, str],
) -> None:
    one = derived_fix_id("github.com", 42, 7, "CVE-1")

    another = derived_fix_id(*other)

    assert another != one


def test_the_case_of_a_host_does_not_matter() -> None:
    lower = derived_fix_id("github.com", 42, 7)

    upper = derived_fix_id("GitHub.COM", 42, 7)

    assert upper == lower
