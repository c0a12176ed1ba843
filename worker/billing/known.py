"""What the books hold already about the events of a batch."""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.events import Event
from worker.billing.fix import Fix
from worker.billing.grants import Grant

EventKey = tuple[str, str, str]


def key_of(event: Event) -> EventKey:
    return event.customer_id, event.source, event.id


@dataclass(slots=True)
class Known:
    """Loaded once per batch; the journal keeps it current as the batch is decided."""

    fixes: dict[tuple[str, str], Fix] = field(default_factory=dict)  # by customer and fix id
    events: dict[EventKey, bytes] = field(default_factory=dict)  # → body hash
    claims: dict[str, str] = field(default_factory=dict)  # derived fix id → customer
    grants: dict[tuple[str, str], Grant] = field(default_factory=dict)  # of the known fixes
    money_gone: set[tuple[str, str]] = field(default_factory=set)  # fixes written off or refunded

    def repeats(self, event: Event) -> bool:
        """The very same came before: it is taken for that one, and changes nothing."""
        return self.events.get(key_of(event)) == event.body_hash
