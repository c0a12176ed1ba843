"""A customer's ledger: transfers, balances, and what would pay for the next fix."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
