"""Plan catalogues as people write them."""

from __future__ import annotations

GOOD = """
[one]
title = "One"
[[one.versions]]
effective = 2026-01-01
price = { amount = 100, currency = "usd" }
[[one.versions]]
effective = 2026-06-01
price = { amount = 200, currency = "usd" }
"""


def version(line: str, code: str = "one", effective: str = "2026-01-01") -> str:
    """A plan of one version; the line is its fifth."""
    return f'[{code}]\ntitle = "One"\n[[{code}.versions]]\neffective = {effective}\n{line}\n'
