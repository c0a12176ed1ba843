"""Usage of any cycle or window, grouped."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
