"""An exported ledger proves itself: what is changed in it is found, and what is wrong in it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from tests.builders import NOW
from tests.stack import Database, connected
from tests.usage.ledgers import (
    Rows,
    balanced_again,
    chained_again,
    checked,
    file_of,
    ledger,
    other,
    sealed,
)
from worker.billing.ledger import Transfer
from worker.storage.engine import WORKER
from worker.usage.chain import Head
from worker.usage.export import ExportProblem, export
from worker.usage.offline import FORMAT, LINE_BYTES_MAX, Header, Problem, line_of, row_in
from worker.usage.verify import audit

WHOLE = ledger()
FILE = file_of(WHOLE)
LINES = FILE.splitlines(keepends=True)
ALONE = (1, 6)  # the header, and a customer without transfers: only the digest vouches for them
ROOT = Path(__file__).parents[2]


def problem(rows: Rows, customers: int = 3) -> Problem:
    (one,) = checked(file_of(rows, customers)).problems
    return one


def test_a_file_as_it_was_written_has_no_problem() -> None:
    verdict = checked(FILE)

    assert verdict.problems == []
    assert (verdict.as_of, verdict.customers, verdict.transfers) == (NOW, 3, 5)
    assert verdict.fingerprint is not None


def test_an_empty_ledger_has_no_problem() -> None:
    assert checked(file_of([], customers=0)).problems == []


@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80, None])
def test_every_single_byte_that_is_changed_is_found_on_its_line(flip: int | None) -> None:
    """At every position; None puts a line feed there, or takes it away."""
    unseen = []
    for place, byte in enumerate(FILE):
        line = FILE.count(b"\n", 0, place) + 1
        flipped = byte ^ flip if flip else (0x0A if byte != 0x0A else 0x20)
        found = checked(FILE[:place] + bytes([flipped]) + FILE[place + 1 :]).problems
        lines = (line, len(LINES)) if line in ALONE else (line,)
        if not found or found[0].line not in lines:
            unseen.append((place, found))

    assert unseen == []


@given(st.integers(0, len(FILE) - 1), st.integers(1, 255))
def test_whatever_a_byte_is_changed_to_it_is_found(place: int, flip: int) -> None:
    forged = FILE[:place] + bytes([FILE[place] ^ flip]) + FILE[place + 1 :]

    assert checked(forged).problems


def test_a_file_that_was_cut_anywhere_is_found() -> None:
    assert all(checked(FILE[:place]).problems for place in range(len(FILE)))
    assert all(checked(FILE[place:]).problems for place in range(1, len(FILE), 20))


def test_a_changed_transfer_is_named_with_its_line_customer_and_number() -> None:
    forged = FILE.replace(
        b',"charge","revenue","receivable","usd",2900,',
        b',"charge","revenue","receivable","usd",2901,',
    )

    (one,) = checked(forged).problems[:1]

    assert one[:3] == (4, "acme", 3)


@pytest.mark.parametrize("line", range(1, len(LINES) - 1))
def test_a_line_that_is_missing_doubled_or_exchanged_is_found_behind_a_new_digest(
    line: int,
) -> None:
    """The header and the last line are another matter: without them it is no export."""
    before, it, after = LINES[:line], LINES[line], LINES[line + 1 : -1]
    forged = [
        [*before, *after],
        [*before, it, it, *after],
        [*before[:-1], it, before[-1], *after],
    ]

    found = [checked(sealed(b"".join(each))).problems for each in forged]

    assert all(found)


def changed(place: int, **columns: Any) -> Rows:
    """Another value, with everything hashed and summed anew."""
    forged = [*WHOLE[:place], other(WHOLE[place], **columns), *WHOLE[place + 1 :]]
    return balanced_again(chained_again(forged))


UNSOUND: dict[str, tuple[Rows, str]] = {
    "a kind that is none": (changed(1, kind="use"), "no movement"),
    "another way": (changed(1, to_account="expired"), "no movement"),
    "money in an account of credits": (changed(1, unit="usd"), "a unit"),
    "credits in an account of money": (changed(2, unit="credit"), "a unit"),
    "nothing": (changed(1, amount=0), "an amount"),
    "less than nothing": (changed(1, amount=-1), "an amount"),
    "an id that is empty": (changed(1, charge_id=""), "an id"),
}


@pytest.mark.parametrize(("rows", "why"), UNSOUND.values(), ids=UNSOUND)
def test_a_transfer_that_may_not_be_is_found_however_well_it_is_chained(
    rows: Rows, why: str
) -> None:
    found = problem(rows)

    assert (found.line, found.customer_id) == (1 + (found.seq or 0), "acme")
    assert why in found.why


def test_a_cause_that_counts_twice_is_found_however_well_it_is_chained() -> None:
    doubled = balanced_again(chained_again([*WHOLE[:2], WHOLE[1], *WHOLE[2:]]))

    assert problem(doubled) == (4, "acme", 3, "its cause has counted before")


def test_the_same_cause_may_count_for_two_customers_and_for_two_kinds() -> None:
    assert checked(file_of(changed(1, source_key="gift"))).problems == []


def test_money_in_two_currencies_is_found_however_well_it_is_chained() -> None:
    euros = other(WHOLE[2], unit="eur", source_key="fix-3")

    found = problem(balanced_again(chained_again([*WHOLE[:3], euros, *WHOLE[3:]])))

    assert (found.customer_id, found.seq) == ("acme", 4)
    assert "eur after money in usd" in found.why


def test_balances_that_are_not_the_sums_are_found() -> None:
    head = WHOLE[3]
    assert isinstance(head, Head)
    moved = head.balances | {"credits": 5, "consumed": 0}

    found = problem([*WHOLE[:3], head._replace(balances=moved), *WHOLE[4:]])

    assert (found.line, found.customer_id) == (5, "acme")
    assert found.why.endswith("credits, consumed")


def test_a_tail_that_was_cut_with_its_head_is_another_ledger_with_another_fingerprint() -> None:
    """Sound in itself: the older fingerprint is what tells."""
    cut = checked(file_of(balanced_again(chained_again([*WHOLE[:2], *WHOLE[3:]]))))

    assert cut.problems == []
    assert cut.fingerprint != checked(FILE).fingerprint


def test_customers_come_once_and_in_order() -> None:
    acme, hooli = ledger(acme=1), ledger(hooli=1)

    assert problem([*hooli, *acme], 2).line == 4
    assert problem([*acme, *acme], 2).line == 4


def test_as_many_customers_as_the_header_says_are_there() -> None:
    assert problem(WHOLE, 2) == (len(LINES), None, None, "of 2 customers 3 are here")


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "no text": b"\xff\xfe\n",
    "no JSON": b"hello\n",
    "a number": b"5\n",
    "a text": b'"sha256"\n',
    "nothing at all": b"null\n",
    "a deep list": b"[" * 60_000 + b"\n",
    "a line without end": b" " * (LINE_BYTES_MAX + 1),
    "a half of a pair": b'["\\ud800",1,"grant"]\n',
    "endless digits": LINES[0].replace(b":3}", b":" + b"9" * 5000 + b"}"),
    "an infinite number": LINES[0].replace(b":3}", b":1e999}"),
    "another format": line_of(Header("fixbill-ledger-2", NOW, 0)),
    "a ledger without a header": b"".join(LINES[1:]),
    "no object of ours": b'{"customer_id":"acme"}\n',
}


@pytest.mark.parametrize("file", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_export_is_one_problem_on_the_first_line(file: bytes) -> None:
    (one,) = checked(file).problems

    assert one[:3] == (1, None, None)


@pytest.mark.parametrize(
    "written",
    [
        b'["acme",true,',
        b'["acme",1.0,',
        b'["acme","1",',
        b'["acme",01,',
        b'[ "acme",1,',
        b'["\\u0061cme",1,',
        b"[null,1,",
    ],
)
def test_a_value_is_written_in_one_way_only(written: bytes) -> None:
    line = LINES[1].replace(b'["acme",1,', written)
    forged = sealed(b"".join([LINES[0], line, *LINES[2:-1]]))

    assert checked(forged).problems[0].line == 2


def test_a_row_is_what_its_line_says() -> None:
    later = NOW + timedelta(microseconds=7)
    moved = other(WHOLE[0], source_key='a"\\\n\x1fé', happened_at=later)

    for row in (moved, *WHOLE, Header(FORMAT, NOW, 3), "abc"):
        assert row_in(line_of(row)) == row


# What comes out of a database.


@pytest.fixture(scope="module")
def busy(busy_template: Database) -> Iterator[Engine]:
    with connected(busy_template.worker_url, WORKER) as engine:
        yield engine


def exported(engine: Engine, *customer_ids: str) -> bytes:
    file = BytesIO()
    export(engine, file, customer_ids)
    return file.getvalue()


def test_an_export_checks_without_the_database_and_has_its_fingerprint(busy: Engine) -> None:
    file = BytesIO()

    written = export(busy, file)

    assert checked(file.getvalue()) == written
    assert (written.customers, written.problems) == (4, [])
    assert written.fingerprint == audit(busy, None).fingerprint


def test_an_export_has_every_transfer_with_every_column(busy: Engine) -> None:
    lines = [json.loads(line) for line in exported(busy).splitlines()]

    with busy.begin() as tx:
        count = tx.exec_driver_sql("SELECT count(*) FROM transfers").scalar_one()
    moved = [line for line in lines if isinstance(line, list)]
    assert len(moved) == count
    assert {len(line) for line in moved} == {len(Transfer._fields)}


def test_an_export_of_some_is_the_same_lines(busy: Engine) -> None:
    everyone = exported(busy).splitlines()
    some = exported(busy, "umbrella", "acme", "acme").splitlines()

    assert set(some[1:-1]) < set(everyone)
    assert checked(b"\n".join(some) + b"\n").customers == 2


def test_an_export_of_a_customer_who_is_not_there_is_refused(busy: Engine) -> None:
    with pytest.raises(ExportProblem, match="there is no customer nobody"):
        exported(busy, "acme", "nobody")


# What an auditor has: the page of the documentation, and the file.


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/proof.md").read_text(), re.DOTALL)
    file = tmp_path_factory.mktemp("auditor") / "check.py"
    file.write_text(code)
    return file


def ran(program: Path, file: bytes) -> subprocess.CompletedProcess[str]:
    copy = program.with_name("ledger.jsonl")
    copy.write_bytes(file)
    command = [sys.executable, "-I", str(program), str(copy)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_program_of_the_documentation_prints_the_fingerprint(
    program: Path, busy: Engine
) -> None:
    file = exported(busy)

    done = ran(program, file)

    assert (done.returncode, done.stdout) == (0, f"{checked(file).fingerprint}\n")


@pytest.mark.parametrize("line", range(len(LINES)))
def test_the_program_of_the_documentation_finds_a_changed_byte(program: Path, line: int) -> None:
    place = sum(map(len, LINES[:line])) + 30
    forged = FILE[:place] + bytes([FILE[place] ^ 1]) + FILE[place + 1 :]

    done = ran(program, forged)

    assert (done.returncode, done.stdout) == (1, "")


def test_nothing_ever_leaves_the_ledger_as_the_documentation_compares(tmp_path: Path) -> None:
    (command,) = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/proof.md").read_text(), re.DOTALL)
    grown, cut = ledger(acme=3, hooli=2), ledger(acme=2, hooli=2)

    def compared(older: Rows, newer: Rows) -> str:
        (tmp_path / "older.jsonl").write_bytes(file_of(older))
        (tmp_path / "newer.jsonl").write_bytes(file_of(newer))
        shell = ["bash", "-c", command]
        return subprocess.run(
            shell, capture_output=True, text=True, check=True, cwd=tmp_path
        ).stdout

    assert compared(cut, grown) == ""
    assert compared(grown, cut).encode() == line_of(grown[2])
