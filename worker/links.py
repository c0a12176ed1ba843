"""Links that customers are sent: signed, short-lived, for one purpose each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

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
        customer_id, charge_id = self.pair_in("pay", token)
        return str(customer_id), str(charge_id)

    def to_statement(self, customer_id: str, number: int) -> str:
        """Where a customer reads this statement."""
        token = self.signer("statement").dumps([customer_id, number])
        return f"{self.public_url}/statement/{token}"

    def statement_of(self, token: str) -> tuple[str, int]:
        """Customer and number of such a link; raises BadLink."""
        customer_id, number = self.pair_in("statement", token)
        return str(customer_id), int(number)

    def pair_in(self, purpose: str, token: str) -> tuple[Any, Any]:
        try:
            first, second = self.signer(purpose).loads(token, max_age=int(GOOD_FOR.total_seconds()))
        except (BadData, ValueError, TypeError) as error:
            raise BadLink("this link is not good, or no longer; ask for a new one") from error
        return first, second

    def signer(self, purpose: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self.secret, salt=purpose)


def good_until() -> datetime:
    """When a link that is made now stops working."""
    return datetime.now(UTC) + GOOD_FOR
