"""A customer's charges, and how each was collected."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
