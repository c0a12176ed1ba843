"""Links that portals ask for."""

from __future__ import annotations

from datetime import datetime

from schemas.answers import Answer


class UsageLink(Answer):
    """Where a customer sees their usage, without a key."""

    url: str
    expires_at: datetime
