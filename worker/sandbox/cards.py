"""The test cards and what their banks say: Stripe's testing page as data.

Stripe checks a card when it is attached, so its decline cards (…0002, …9995, …9987 and so on)
are refused by `attach` and decline a payment only when they are confirmed without a customer.
What attaches and then declines at Stripe: …0341 (generic), the `CustomerFailLostCard` and
`CustomerFailStolenCard` tokens, and 4000008260003178 (insufficient funds, wants 3D Secure while
the customer is there). Stripe has no such card for the other declines, and none whose payment
stays `processing`; the rows whose names begin with `sandbox_` fill that gap and exist only here.

Every name works as `tok_<name>` and `pm_card_<name>`, though Stripe documents some with one
prefix only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class Decline:
    """How a bank says no.

    Where the testing page names no decline code (expired, CVC, processing) it equals the code.
    """

    code: str
    decline_code: str
    message: str
    advice_code: str | None = None
    network_decline_code: str | None = None


# The advice of `generic` is what Stripe's test mode answers; that of the others follows the
# meaning Stripe documents for each advice, because its testing page does not list them.
DECLINES = {
    "generic": Decline(
        "card_declined", "generic_decline", "Your card was declined.", "try_again_later", "01"
    ),
    "insufficient_funds": Decline(
        "card_declined",
        "insufficient_funds",
        "Your card has insufficient funds.",
        "try_again_later",
        "51",
    ),
    "lost_card": Decline(
        "card_declined", "lost_card", "Your card was declined.", "do_not_try_again", "41"
    ),
    "stolen_card": Decline(
        "card_declined", "stolen_card", "Your card was declined.", "do_not_try_again", "43"
    ),
    "velocity": Decline(
        "card_declined",
        "card_velocity_exceeded",
        "Your card was declined for making repeated attempts too frequently or exceeding its"
        " amount limit.",
        "try_again_later",
    ),
    "expired_card": Decline(
        "expired_card", "expired_card", "Your card has expired.", "do_not_try_again", "54"
    ),
    "incorrect_cvc": Decline(
        "incorrect_cvc",
        "incorrect_cvc",
        "Your card's security code is incorrect.",
        "confirm_card_data",
        "N7",
    ),
    "processing_error": Decline(
        "processing_error",
        "processing_error",
        "An error occurred while processing your card. Try again in a little bit.",
        "try_again_later",
    ),
    "authentication_required": Decline(
        "authentication_required",
        "authentication_required",
        "Your card was declined. This transaction requires authentication.",
    ),
}


class Authenticates(StrEnum):
    """When the bank wants to see the customer (3D Secure)."""

    NEVER = "never"
    ON_SESSION = "on session"
    UNLESS_SET_UP = "on session, and off session until it was set up for that"
    ALWAYS = "always"


class Refunding(StrEnum):
    """What the bank does with money sent back."""

    AT_ONCE = "at once"
    PENDING = "takes its time"
    FAILS = "takes it, and sends it back"


@dataclass(frozen=True)
class Card:
    """One test card: the number and the names that stand for it, and how it behaves."""

    number: str | None
    names: tuple[str, ...]
    brand: str = "visa"
    decline: str | None = None
    attaches: bool = True
    authenticates: Authenticates = Authenticates.NEVER
    # The bank says yes or no only days after it was asked.
    processes: bool = False
    refunding: Refunding = Refunding.AT_ONCE
    # Why the cardholder questions every payment.
    disputes: str | None = None
    inquires: bool = False

    @property
    def last4(self) -> str:
        return (self.number or "4000000000000341")[-4:]


def _declined(number: str, decline: str, *names: str) -> Card:
    return Card(number, names, decline=decline, attaches=False)


CARDS = (
    Card("4242424242424242", ("visa",)),
    Card("4000056655665556", ("visa_debit",)),
    Card("5555555555554444", ("mastercard",), "mastercard"),
    Card("378282246310005", ("amex",), "amex"),
    _declined("4000000000000002", "generic", "visa_chargeDeclined", "chargeDeclined"),
    _declined(
        "4000000000009995",
        "insufficient_funds",
        "visa_chargeDeclinedInsufficientFunds",
        "chargeDeclinedInsufficientFunds",
    ),
    _declined("4000000000009987", "lost_card", "visa_chargeDeclinedLostCard"),
    _declined("4000000000009979", "stolen_card", "visa_chargeDeclinedStolenCard"),
    _declined("4000000000006975", "velocity", "visa_chargeDeclinedVelocityLimitExceeded"),
    _declined(
        "4000000000000069",
        "expired_card",
        "chargeDeclinedExpiredCard",
        "visa_chargeDeclinedExpiredCard",
    ),
    _declined(
        "4000000000000127",
        "incorrect_cvc",
        "chargeDeclinedIncorrectCvc",
        "visa_chargeDeclinedIncorrectCvc",
    ),
    _declined(
        "4000000000000119",
        "processing_error",
        "chargeDeclinedProcessingError",
        "visa_chargeDeclinedProcessingError",
    ),
    Card("4000000000000341", ("chargeCustomerFail", "visa_chargeCustomerFail"), decline="generic"),
    Card(None, ("visa_chargeCustomerFailLostCard",), decline="lost_card"),
    Card(None, ("visa_chargeCustomerFailStolenCard",), decline="stolen_card"),
    Card(
        "4000008260003178",
        ("authenticationRequiredChargeDeclinedInsufficientFunds",),
        decline="insufficient_funds",
        authenticates=Authenticates.ON_SESSION,
    ),
    Card(None, ("sandbox_chargeCustomerFailInsufficientFunds",), decline="insufficient_funds"),
    Card(None, ("sandbox_chargeCustomerFailExpiredCard",), decline="expired_card"),
    Card(None, ("sandbox_chargeCustomerFailIncorrectCvc",), decline="incorrect_cvc"),
    Card(None, ("sandbox_chargeCustomerFailProcessingError",), decline="processing_error"),
    Card(
        "4000002760003184",
        ("authenticationRequired",),
        authenticates=Authenticates.ALWAYS,
    ),
    Card(
        "4000002500003155",
        ("authenticationRequiredOnSetup",),
        authenticates=Authenticates.UNLESS_SET_UP,
    ),
    Card(
        "4000003800000446",
        ("authenticationRequiredSetupForOffSession",),
        authenticates=Authenticates.ON_SESSION,
    ),
    Card("4000000000007726", ("pendingRefund",), refunding=Refunding.PENDING),
    Card("4000000000005126", ("refundFail",), refunding=Refunding.FAILS),
    Card(
        "4000000000000259",
        ("createDispute", "visa_createDispute"),
        disputes="fraudulent",
    ),
    Card(
        "4000000000002685",
        ("createDisputeProductNotReceived", "visa_createDisputeProductNotReceived"),
        disputes="product_not_received",
    ),
    Card(
        "4000000000001976",
        ("createDisputeInquiry", "visa_createDisputeInquiry"),
        disputes="fraudulent",
        inquires=True,
    ),
    Card(None, ("sandbox_processing",), processes=True),
    Card(None, ("sandbox_processingFails",), decline="insufficient_funds", processes=True),
)

BY_NAME = {name: card for card in CARDS for name in card.names}
BY_NUMBER = {card.number: card for card in CARDS if card.number}


def named(token: str) -> Card | None:
    """The card behind `tok_visa` or `pm_card_visa`."""
    for prefix in ("tok_", "pm_card_"):
        if token.startswith(prefix):
            return BY_NAME.get(token.removeprefix(prefix))
    return None


def passes_luhn(number: str) -> bool:
    """Whether the last digit checks the others."""
    digits = [int(digit) for digit in reversed(number)]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
