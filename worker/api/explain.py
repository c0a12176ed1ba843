"""Why a fix or a charge costs what it costs."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
