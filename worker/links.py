"""Links that customers are sent: signed, short-lived, for one purpose each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from itsdangerous import BadData, URLSafeTimedSerializer

GOOD_FOR = timedelta(days=7)


class BadLink(ValueError):
    """Not a link of ours, or no longer good."""


class Links(NamedTuple):
    """Where customers reach the API, and what signs the links. Ages are wall time."""

    public_url: str
    secret: str

    def to_charge(self, customer_id: str, charge_id: str) -> str:
        """Where a customer authenticates the payment of this charge."""
        return f"{self.public_url}/pay/{self.signer('pay').dumps([customer_id, charge_id])}"

    def charge_of(self, token: str) -> tuple[str, str]:
        """Customer and charge of such a link; raises BadLink."""
        try:
            customer_id, charge_id = self.signer("pay").loads(
                token, max_age=int(GOOD_FOR.total_seconds())
            )
        except (BadData, ValueError, TypeError) as error:
            raise BadLink("this link is not good, or no longer; ask for a new one") from error
        return str(customer_id), str(charge_id)

    def signer(self, purpose: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self.secret, salt=purpose)


def good_until() -> datetime:
    """When a link that is made now stops working."""
    return datetime.now(UTC) + GOOD_FOR
