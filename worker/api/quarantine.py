"""What of a customer's events could not be settled."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
