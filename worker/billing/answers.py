"""What Stripe's replies mean: one table from HTTP status and body to an answer."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from schemas.money import Money


class AnswerKind(StrEnum):
    """What a reply lets us do next."""

    SUCCEEDED = "succeeded"  #: the money is ours
    READY = "ready"  #: the intent exists and can be confirmed
    UNKNOWN = "unknown"  #: it may have happened: ask, never try blind
    LATER = "later"  #: nothing happened; try again after a pause, at no cost
    DECLINED = "declined"  #: the bank said no to this attempt
    NEEDS_CUSTOMER = "needs_customer"  #: the customer must authenticate
    CANCELED = "canceled"  #: the intent is dead
    OUR_BUG = "our_bug"  #: the request was wrong; trying again would be wrong again


class Answer(NamedTuple):
    """One reply, whatever form it came in."""

    kind: AnswerKind
    payment_intent: str | None = None
    money: Money | None = None
    stripe_customer: str | None = None
    charge_id: str | None = None  # ours, from the metadata
    code: str | None = None
    message: str | None = None
    latest_charge: str | None = None  # Stripe's own charge: one per time the bank was asked
    advice: str | None = None  # the network's: whether another try makes sense
    status: int | None = None  # of HTTP, where the reply was an error


# docs.stripe.com/payments/paymentintents/lifecycle
BY_INTENT_STATUS = {
    "succeeded": AnswerKind.SUCCEEDED,
    "processing": AnswerKind.UNKNOWN,
    "requires_payment_method": AnswerKind.READY,
    "requires_confirmation": AnswerKind.READY,
    "requires_action": AnswerKind.NEEDS_CUSTOMER,
    "canceled": AnswerKind.CANCELED,
    "requires_capture": AnswerKind.OUR_BUG,
}

# Codes after which no bank wants to see this card again (docs.stripe.com/declines/codes).
HARD_DECLINES = {
    "expired_card",
    "fraudulent",
    "invalid_account",
    "lost_card",
    "merchant_blacklist",
    "new_account_information_available",
    "pickup_card",
    "restricted_card",
    "revocation_of_all_authorizations",
    "revocation_of_authorization",
    "security_violation",
    "stolen_card",
    "stop_payment_order",
}
DO_NOT_TRY_AGAIN = "do_not_try_again"  # the advice code that says the same
FORBIDDING = {"03", "21"}  # Mastercard's merchant advice codes: do not try again, payment cancelled


# Instead of Stripe's own words: those quote the key.
REFUSED_KEY = "Stripe does not take this API key: check STRIPE_API_KEY"


def classify(status: int | None, body: object) -> Answer:
    """The answer in a reply; without a status none came. What the table lacks is unknown."""
    if status is None or not isinstance(body, Mapping):
        return Answer(AnswerKind.UNKNOWN, message="Stripe gave no readable reply; try again")
    if status == 200:
        return of_intent(body)
    error = body.get("error")
    if not isinstance(error, Mapping):
        return Answer(AnswerKind.UNKNOWN, message=f"HTTP {status} without an error object")
    code = code_in(error) or text(error.get("type"))
    return Answer(
        kind_of_error(status, error),
        payment_intent=text(part(error, "payment_intent").get("id")),
        code=code,
        message=REFUSED_KEY if status == 401 else text(error.get("message")),
        advice=DO_NOT_TRY_AGAIN if is_without_card(error) else advice_in(error),
        status=status,
    )


def of_intent(body: Mapping[str, Any]) -> Answer:
    """A payment intent as Stripe shows it."""
    if body.get("object") != "payment_intent":
        return Answer(AnswerKind.UNKNOWN, message="the reply is no payment intent")
    error = part(body, "last_payment_error")
    status = str(body.get("status"))
    kind = BY_INTENT_STATUS.get(status, AnswerKind.UNKNOWN)
    return Answer(
        kind,
        payment_intent=text(body.get("id")),
        money=money_in(body),
        stripe_customer=text(body.get("customer")),
        charge_id=text(part(body, "metadata").get("charge_id")),
        code=status if kind is AnswerKind.UNKNOWN else code_in(error),
        latest_charge=text(body.get("latest_charge")),
        advice=advice_in(error),
    )


def as_asked(answer: Answer, parameters: Mapping[str, Any]) -> Answer:
    """An intent that differs from what was asked for must not be confirmed, nor booked."""
    about_an_intent = answer.kind in (AnswerKind.SUCCEEDED, AnswerKind.READY)
    asked = Money(parameters["amount"], parameters["currency"]), parameters["customer"]
    if not about_an_intent or (answer.money, answer.stripe_customer) == asked:
        return answer
    message = f"Stripe's intent is about {answer.money} of {answer.stripe_customer}"
    return answer._replace(kind=AnswerKind.OUR_BUG, code="differs_from_asked", message=message)


def refusal_on(intent: Answer) -> Answer:
    """What the bank said to the newest charge of an intent that can be confirmed again."""
    needs_customer = intent.code == "authentication_required"
    kind = AnswerKind.NEEDS_CUSTOMER if needs_customer else AnswerKind.DECLINED
    return intent._replace(kind=kind)


def kind_of_error(status: int, error: Mapping[str, Any]) -> AnswerKind:
    if status == 402:
        needs_customer = "authentication_required" in (error.get("code"), error.get("decline_code"))
        return AnswerKind.NEEDS_CUSTOMER if needs_customer else AnswerKind.DECLINED
    if status == 429:
        return AnswerKind.LATER
    if status == 409 or status >= 500:
        return AnswerKind.UNKNOWN
    if is_without_card(error):
        return AnswerKind.DECLINED
    if error.get("code") == "payment_intent_unexpected_state":
        return AnswerKind.UNKNOWN  # someone else moved it: asking for the intent will tell
    return AnswerKind.OUR_BUG if 400 <= status < 500 else AnswerKind.UNKNOWN


def is_without_card(error: Mapping[str, Any]) -> bool:
    """The payment method was detached or used up: only another one can pay."""
    return error.get("param") == "payment_method" and error.get("type") == "invalid_request_error"


def is_hard(answer: Answer) -> bool:
    """A decline after which trying again is forbidden or useless."""
    return answer.code in HARD_DECLINES or answer.advice == DO_NOT_TRY_AGAIN


def code_in(error: Mapping[str, Any]) -> str | None:
    """The bank's word where there is one, else Stripe's."""
    return text(error.get("decline_code")) or text(error.get("code"))


def advice_in(error: Mapping[str, Any]) -> str | None:
    """Stripe's own advice, or the card network's where it forbids another try."""
    network = text(error.get("network_advice_code"))
    return DO_NOT_TRY_AGAIN if network in FORBIDDING else text(error.get("advice_code"))


def part(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of a reply, or nothing where it is not what Stripe sends."""
    found = body.get(name)
    return found if isinstance(found, Mapping) else {}


def money_in(body: Mapping[str, Any]) -> Money | None:
    amount, currency = body.get("amount"), body.get("currency")
    try:
        return Money(amount, currency)  # type: ignore[arg-type]
    except (TypeError, ValueError, AttributeError):
        return None


def text(value: object) -> str | None:
    return value if isinstance(value, str) else None
