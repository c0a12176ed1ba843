"""A customer's fixes, and what became of each."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
