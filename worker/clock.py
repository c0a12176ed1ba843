"""Two clocks that are never mixed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True)
class Clock:
    """Business time decides cycles, expiry, dunning; wall time decides leases and time-outs."""

    ahead: timedelta = timedelta(0)

    def now(self) -> datetime:
        """Business time."""
        return self.wall() + self.ahead

    def wall(self) -> datetime:
        return datetime.now(UTC)
