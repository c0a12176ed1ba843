"""How our books and Stripe's lists can differ, and what each difference calls for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from schemas.money import Money
from worker.billing.disputes import BY_STRIPE_STATUS as FUNDS
from worker.billing.disputes import FINAL, Funds
from worker.billing.refunds import BY_STRIPE_STATUS, RefundStatus
from worker.billing.stripe_objects import (
    Payment,
    StripeDispute,
    StripeInvoice,
    StripeRefund,
    StripeSubscription,
)


class DriftKind(StrEnum):
    """What differs."""

    MISSED_EVENT = "missed_event"  #: no webhook told us of it
    MISSED_PAYMENT = "missed_payment"  #: Stripe has money that we have not booked
    MISSED_REFUND = "missed_refund"  #: money went back, or came back, without our knowing
    MISSED_DISPUTE = "missed_dispute"  #: a bank took money, or decided, without our knowing
    MISSED_INVOICE = "missed_invoice"  #: a subscription was paid for without our knowing
    MISSED_SUBSCRIPTION = "missed_subscription"  #: it began, changed or ended without our knowing
    AMOUNT_DIFFERS = "amount_differs"  #: booked with another amount than Stripe has
    OTHER_CURRENCY = "other_currency"  #: a payment that this customer's ledger cannot hold
    STRANGER = "stranger"  #: a payment for a charge of ours by a customer we do not know
    PAYMENT_NOT_AT_STRIPE = "payment_not_at_stripe"  #: booked, and Stripe knows nothing of it
    REFUND_NOT_AT_STRIPE = "refund_not_at_stripe"


#: Only these are repaired: Stripe says what happened, and our own lives book it.
SAFE = {
    DriftKind.MISSED_EVENT,
    DriftKind.MISSED_PAYMENT,
    DriftKind.MISSED_REFUND,
    DriftKind.MISSED_DISPUTE,
    DriftKind.MISSED_INVOICE,
    DriftKind.MISSED_SUBSCRIPTION,
}


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference; `subject` is the id of Stripe's object."""

    kind: DriftKind
    subject: str
    customer_id: str | None
    evidence: Mapping[str, Any]

    @property
    def safe(self) -> bool:
        return self.kind in SAFE


class Window(NamedTuple):
    """What is compared: objects created at Stripe from `since`, up to `until`."""

    since: datetime
    until: datetime


class Booked(NamedTuple):
    """A payment in the ledger."""

    customer_id: str
    money: Money
    recent: bool  # within the window, so Stripe's list should have it


class Standing(NamedTuple):
    """How a subscription stands."""

    status: str
    ends_with_period: bool


@dataclass(slots=True)
class Books:
    """What our side of the comparison knows."""

    owners: dict[str, tuple[str, str]]  # Stripe's customer → ours, and the currency of the ledger
    payments: dict[str, Booked]
    refunds: dict[str, RefundStatus]
    disputes: dict[str, Funds]
    invoices: dict[str, str]  # with Stripe's status
    subscriptions: dict[str, Standing] = field(default_factory=dict)
    recent_refunds: dict[str, str] = field(default_factory=dict)  # within the window; whose
    amounts: dict[str, Money] = field(default_factory=dict)  # of refunds and disputes


@dataclass(slots=True)
class Truth:
    """What Stripe's lists say for the window."""

    payments: list[Payment] = field(default_factory=list)
    refunds: list[StripeRefund] = field(default_factory=list)
    disputes: list[StripeDispute] = field(default_factory=list)
    invoices: list[StripeInvoice] = field(default_factory=list)
    subscriptions: list[StripeSubscription] = field(default_factory=list)

    def subjects(self) -> set[str]:
        """Everything that was looked at, by Stripe's id."""
        return {
            *(each.payment_intent for each in self.payments),
            *(each.stripe_refund for each in self.refunds),
            *(each.dispute_id for each in self.disputes),
            *(each.invoice_id for each in self.invoices),
            *(each.subscription_id for each in self.subscriptions),
        }


def compare(books: Books, truth: Truth) -> Iterator[Drift]:
    """Every difference, payments first: refunds and disputes of a payment need it booked."""
    for payment in truth.payments:
        yield from compare_payment(books, payment)
    yield from compare_invoices(books, truth.invoices)
    yield from compare_subscriptions(books, truth.subscriptions)
    yield from absent_payments(books, truth)
    ours = books.payments.keys() | {
        each.payment_intent for each in truth.payments if each.stripe_customer in books.owners
    }
    yield from compare_refunds(books, (r for r in truth.refunds if r.payment_intent in ours))
    yield from absent_refunds(books, truth)
    yield from compare_disputes(books, (d for d in truth.disputes if d.payment_intent in ours))


def compare_payment(books: Books, payment: Payment) -> Iterator[Drift]:
    booked = books.payments.get(payment.payment_intent)
    owner, currency = books.owners.get(payment.stripe_customer or "", (None, None))
    seen = {"stripe": str(payment.money), "charge": payment.charge_id}
    if booked is not None:
        if booked.money != payment.money:
            evidence = {**seen, "books": str(booked.money)}
            yield Drift(
                DriftKind.AMOUNT_DIFFERS, payment.payment_intent, booked.customer_id, evidence
            )
    elif owner is None:
        if payment.charge_id is not None:
            evidence = {**seen, "stripe_customer": payment.stripe_customer}
            yield Drift(DriftKind.STRANGER, payment.payment_intent, None, evidence)
    elif payment.money.currency != currency:
        evidence = {**seen, "ledger": currency}
        yield Drift(DriftKind.OTHER_CURRENCY, payment.payment_intent, owner, evidence)
    else:
        yield Drift(DriftKind.MISSED_PAYMENT, payment.payment_intent, owner, seen)


def compare_invoices(books: Books, invoices: Iterable[StripeInvoice]) -> Iterator[Drift]:
    for invoice in invoices:
        owner, _ = books.owners.get(invoice.stripe_customer, (None, None))
        kept = books.invoices.get(invoice.invoice_id)
        if owner is not None and kept != invoice.status:
            evidence = {"stripe": f"{invoice.money} {invoice.status}", "books": kept}
            yield Drift(DriftKind.MISSED_INVOICE, invoice.invoice_id, owner, evidence)


def compare_subscriptions(
    books: Books, subscriptions: Iterable[StripeSubscription]
) -> Iterator[Drift]:
    for each in subscriptions:
        owner, _ = books.owners.get(each.stripe_customer, (None, None))
        kept = books.subscriptions.get(each.subscription_id)
        seen = Standing(each.status, each.cancel_at_period_end)
        if owner is not None and kept != seen:
            evidence = {"stripe": seen.status, "books": kept and kept.status}
            yield Drift(DriftKind.MISSED_SUBSCRIPTION, each.subscription_id, owner, evidence)


def absent_payments(books: Books, truth: Truth) -> Iterator[Drift]:
    listed = {payment.payment_intent for payment in truth.payments}
    for intent, booked in books.payments.items():
        if booked.recent and intent not in listed:
            evidence = {"books": str(booked.money), "stripe": None}
            yield Drift(DriftKind.PAYMENT_NOT_AT_STRIPE, intent, booked.customer_id, evidence)


def compare_refunds(books: Books, refunds: Iterable[StripeRefund]) -> Iterator[Drift]:
    for refund in refunds:
        kept = books.refunds.get(refund.stripe_refund)
        yield from compare_amount(books, refund.stripe_refund, refund.money)
        status = BY_STRIPE_STATUS.get(refund.status, RefundStatus.PENDING)
        if kept not in (status, RefundStatus.FAILED):
            evidence = {"stripe": f"{refund.money} {refund.status}", "books": kept}
            yield Drift(DriftKind.MISSED_REFUND, refund.stripe_refund, None, evidence)


def compare_amount(books: Books, subject: str, money: Money) -> Iterator[Drift]:
    booked = books.amounts.get(subject, money)
    if booked != money:
        evidence = {"stripe": str(money), "books": str(booked)}
        yield Drift(DriftKind.AMOUNT_DIFFERS, subject, None, evidence)


def absent_refunds(books: Books, truth: Truth) -> Iterator[Drift]:
    listed = {refund.stripe_refund for refund in truth.refunds}
    for stripe_refund, customer_id in books.recent_refunds.items():
        if stripe_refund not in listed:
            evidence = {"books": books.refunds.get(stripe_refund), "stripe": None}
            yield Drift(DriftKind.REFUND_NOT_AT_STRIPE, stripe_refund, customer_id, evidence)


def compare_disputes(books: Books, disputes: Iterable[StripeDispute]) -> Iterator[Drift]:
    for dispute in disputes:
        kept = books.disputes.get(dispute.dispute_id)
        yield from compare_amount(books, dispute.dispute_id, dispute.money)
        funds = FUNDS.get(dispute.status, kept or Funds.OURS)
        if kept is not funds and kept not in FINAL:
            evidence = {"stripe": f"{dispute.money} {dispute.status}", "books": kept}
            yield Drift(DriftKind.MISSED_DISPUTE, dispute.dispute_id, None, evidence)
