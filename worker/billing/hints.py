"""Which object a Stripe event is about: all that is believed of the event itself."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple


class Subject(StrEnum):
    """What is asked for at Stripe when an event names it."""

    PAYMENT = "payment"
    REFUND = "refund"
    DISPUTE = "dispute"
    CHECKOUT = "checkout"
    PAYMENT_METHOD = "payment_method"
    CUSTOMER = "customer"
    INVOICE = "invoice"
    SUBSCRIPTION = "subscription"


class Webhook(NamedTuple):
    """An event that Stripe has signed: a hint that something has changed."""

    event_id: str
    type: str
    livemode: bool
    object_id: str | None  # what to ask Stripe for; empty where it concerns nothing of ours
    body: bytes  # the very bytes that were signed


# The longest that begins the event's type counts: (subject, where its id stands in the object).
BY_TYPE = {
    "payment_intent.": (Subject.PAYMENT, "id"),
    "charge.": (Subject.PAYMENT, "payment_intent"),
    "charge.dispute.": (Subject.DISPUTE, "id"),
    "charge.refund.": (Subject.REFUND, "id"),
    "refund.": (Subject.REFUND, "id"),
    "checkout.session.": (Subject.CHECKOUT, "id"),
    "payment_method.": (Subject.PAYMENT_METHOD, "id"),
    "customer.updated": (Subject.CUSTOMER, "id"),
    "invoice.": (Subject.INVOICE, "id"),
    "customer.subscription.": (Subject.SUBSCRIPTION, "id"),
}


def subject_of(type: str) -> Subject | None:
    """What kind of object events of this type are about."""
    prefix = prefix_of(type)
    return BY_TYPE[prefix][0] if prefix else None


def object_in(type: str, thing: Mapping[str, Any]) -> str | None:
    """The id of the object to ask for, as the event has it."""
    prefix = prefix_of(type)
    found = thing.get(BY_TYPE[prefix][1]) if prefix else None
    return found if isinstance(found, str) else None


def prefix_of(type: str) -> str | None:
    return max((each for each in BY_TYPE if type.startswith(each)), key=len, default=None)
