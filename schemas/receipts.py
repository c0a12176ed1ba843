"""What whoever sends an event is told of it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.events import Event
from schemas.money import Money


class Receipt(BaseModel):
    """What has become of one event."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_id: str
    customer_id: str
    fix_id: str
    status: Literal["accepted", "settled", "waiting", "quarantined", "refused", "spooled"]
    outcome: Literal["credited", "charged", "held", "reverted"] | None = None
    price: Money | None = None
    detail: str | None = Field(None, description="Why, where the status alone does not say it.")


def receipt(event: Event, status: str, detail: str | None = None, **more: object) -> Receipt:
    """The receipt of this event."""
    return Receipt.model_validate(
        {
            "event_id": event.id,
            "customer_id": event.customer_id,
            "fix_id": event.fix_id,
            "status": status,
            "detail": detail,
            **more,
        }
    )
