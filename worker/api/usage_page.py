"""A customer's usage as a page, behind a link."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
