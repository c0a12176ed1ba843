"""Links that customers are sent: signed, short-lived, for one purpose each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from itsdangerous import BadData, URLSafeTimedSerializer

GOOD_FOR = timedelta(days=7)
USAGE_GOOD_FOR = timedelta(hours=24)  # a portal makes one whenever it shows the page


BAD = "this link is not good, or no longer; ask for a new one"


class BadLink(ValueError):
    """Not a link of ours, or no longer good."""


class Links(NamedTuple):
    """Where customers reach the API, and what signs the links. Ages are wall time."""

    public_url: str
    secret: str
    portals: tuple[str, ...] = ()  # origins that may show the usage page in a frame

    def to_charge(self, customer_id: str, charge_id: str) -> str:
        """Where a customer authenticates the payment of this charge."""
        return f"{self.public_url}/pay/{self.signer('pay').dumps([customer_id, charge_id])}"

    def charge_of(self, token: str) -> tuple[str, str]:
        """Customer and charge of such a link; raises BadLink."""
        customer_id, charge_id = self.read("pay", token, 2)
        return str(customer_id), str(charge_id)

    def to_statement(self, customer_id: str, number: int) -> str:
        """Where a customer reads this statement."""
        token = self.signer("statement").dumps([customer_id, number])
        return f"{self.public_url}/statement/{token}"

    def statement_of(self, token: str) -> tuple[str, int]:
        """Customer and number of such a link; raises BadLink."""
        customer_id, number = self.read("statement", token, 2)
        return str(customer_id), int(number)

    def to_usage(self, customer_id: str) -> str:
        """Where a customer sees their usage, and a portal shows it in a frame."""
        return f"{self.public_url}/usage/{self.signer('usage').dumps([customer_id])}"

    def usage_of(self, token: str) -> str:
        """The customer of such a link; raises BadLink."""
        (customer_id,) = self.read("usage", token, 1, USAGE_GOOD_FOR)
        return str(customer_id)

    def read(
        self, purpose: str, token: str, parts: int, good_for: timedelta = GOOD_FOR
    ) -> list[Any]:
        """What was signed for this purpose; so many parts."""
        try:
            found = self.signer(purpose).loads(token, max_age=int(good_for.total_seconds()))
        except (BadData, ValueError, TypeError) as error:
            raise BadLink(BAD) from error
        if not isinstance(found, list) or len(found) != parts:
            raise BadLink(BAD)
        return found

    def signer(self, purpose: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self.secret, salt=purpose)


def good_until(good_for: timedelta = GOOD_FOR) -> datetime:
    """When a link that is made now stops working."""
    return datetime.now(UTC) + good_for
