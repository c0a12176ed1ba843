"""`make demo`: the newcomer's first minute."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter


def test_the_demo_shows_every_outcome_and_ends_with_books_in_order() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "worker.cli.main", "demo", "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert all(shown["invariants"].values())
    assert Counter(fix["outcome"] for fix in shown["fixes"]) == {
        "credited": 15,  # ten of them are included in Pro
        "charged": 4,
        "held": 1,
        "reverted": 1,
    }
    prices = {fix["price"]["amount"] for fix in shown["fixes"] if fix["price"]}
    assert prices == {2900, 1500}
    # Two fixes may be collected together, or the first before the second has come.
    collected: Counter[tuple[str, str]] = Counter()
    for charge in shown["charges"]:
        collected[charge["customer_id"], charge["status"]] += charge["amount"]["amount"]
    assert collected == {
        ("acme-shop", "paid"): 5800,
        ("nova-cloud", "paid"): 1500,
        ("rusty-cards", "declined"): 2900,
    }
    assert [each["reason"] for each in shown["quarantine"]] == ["unreadable"]
    assert set(shown["usage"]) == {"tern-books", "acme-shop", "nova-cloud", "rusty-cards"}
