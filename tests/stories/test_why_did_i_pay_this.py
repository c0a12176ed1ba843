"""The customer asks why they paid, says that it was wrong, and is told what became of that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import urllib3

from tests.running import RunningStack, eventually
from tests.stories.customers import all_paid, charges_in, deployed_now, new_customer


def command(stack: RunningStack, *words: str) -> Any:
    """What `fixbill …` answers with --json."""
    done = subprocess.run(
        [sys.executable, "-m", "worker.cli.main", *words, "--json"],
        env={"PATH": os.environ["PATH"], **stack.env},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def contest(stack: RunningStack, customer_id: str, fix_id: str, reason: str) -> Any:
    path = f"/api/v1/customers/{customer_id}/fixes/{fix_id}/contest"
    headers = stack.authorized | {"Idempotency-Key": "mail-1"}
    body = {"reason": reason}
    url = stack.env["FIXBILL_API_URL"] + path
    return urllib3.request("POST", url, headers=headers, json=body).json()


def test_from_the_question_to_the_credit_for_it(stack: RunningStack) -> None:
    customer = new_customer(stack, "payg", "pm_card_visa")
    stack.post(deployed_now(customer, 1), wait=10)
    assert all_paid(stack, customer, within=60)
    (charge,) = charges_in(stack, customer)
    fix = f"/api/v1/customers/{customer}/fixes/fix-00001"

    why = stack.get(f"{fix}/explain")
    told = command(stack, "explain", "fix-00001", "--customer", customer)
    opened = contest(stack, customer, "fix-00001", "It was never merged.")
    again = contest(stack, customer, "fix-00001", "It was never merged.")
    waiting = command(stack, "contests", "list")
    command(stack, "contests", "accept", opened["contest_id"], "--why", "They are right.")
    credit = stack.get(f"/api/v1/customers/{customer}/entitlement")
    after = stack.get(f"{fix}/explain")

    assert why["net"]["money"] == {"amount": 2900, "currency": "usd"}
    assert why["charge"]["payment_intent"] == charge.payment_intent
    assert why["chain"] == "ok"
    assert told["steps"] == why["steps"]
    assert again["contest_id"] == opened["contest_id"]
    assert [each["customer_id"] for each in waiting if each["customer_id"] == customer] == [
        customer
    ]
    assert (after["status"], after["contests"][0]["status"]) == ("reverted", "accepted")
    assert after["net"]["credits"] == -1
    assert (credit["pays_by"], credit["credits_left"]) == ("credit", 1)
    assert stack.broken() == []


def test_the_same_on_a_page_that_needs_no_key(stack: RunningStack) -> None:
    customer = new_customer(stack, "payg", "pm_card_visa")
    stack.post(deployed_now(customer, 1), wait=10)
    assert all_paid(stack, customer, within=60)
    link = command(stack, "usage", "link", customer)["url"]

    def page(path: str = "") -> str:
        return urllib3.request("GET", link + path).data.decode()

    assert eventually(lambda: "$29.00" in page())
    assert "Why this fix costs what it costs" in page("/fixes/fix-00001")
    assert urllib3.request("GET", link + "x").status == 404


def test_the_ledger_proves_itself_elsewhere(stack: RunningStack, tmp_path: Path) -> None:
    customer = new_customer(stack)
    stack.post(deployed_now(customer, 3), wait=10)
    file = tmp_path / "ledger.jsonl"

    command(stack, "verify", "--export", str(file), "--customer", customer)
    found = subprocess.run(
        [sys.executable, "-m", "worker.cli.main", "verify", "--offline", str(file), "--json"],
        env={"PATH": os.environ["PATH"]},  # no database, no settings
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(found.stdout)["ok"] is True
