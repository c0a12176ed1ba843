"""A customer says that a fix was wrong."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
