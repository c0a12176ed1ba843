"""What a decision can be, as values: the rules return one, the journal writes it.

`name` is what the event is counted and recorded as.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from schemas.money import Money
from worker.billing.fix import Fix
from worker.billing.grants import Grant


@dataclass(slots=True)
class Credited:
    """A credit of this grant pays."""

    grant: Grant
    name: ClassVar[str] = "credited"


@dataclass(slots=True)
class Charged:
    """Money pays, at this price."""

    price: Money
    name: ClassVar[str] = "charged"


@dataclass(slots=True)
class Held:
    """Nothing can pay yet."""

    why: str
    name: ClassVar[str] = "held"


@dataclass(slots=True)
class Reverted:
    """The fix is taken back; `how` says what happens to what paid for it."""

    fix: Fix
    how: Literal["dropped", "given_back", "uncharged", "compensated", "forgiven"]
    name: ClassVar[str] = "reverted"


@dataclass(slots=True)
class Tombstone:
    """Taken back before it was seen: the later "deployed" will cost nothing."""

    name: ClassVar[str] = "reverted_unseen"


@dataclass(slots=True)
class Unchanged:
    """The fix is known already; nothing is billed."""

    name: ClassVar[str] = "duplicate"


@dataclass(slots=True)
class Waiting:
    """We do not know this customer yet."""

    name: ClassVar[str] = "waiting"


@dataclass(slots=True)
class Refused:
    """Not to be settled; goes to quarantine with this reason."""

    reason: str
    detail: str
    name: ClassVar[str] = "quarantined"


Payment = Credited | Charged | Held
Outcome = Payment | Reverted | Tombstone | Unchanged | Waiting | Refused
