"""Table of contents: every kind of object the sandbox keeps, and everything done later."""

from __future__ import annotations

from worker.sandbox import (
    balance_transactions,
    charges,
    checkout_sessions,
    collection,
    customers,
    disputes,
    events,
    invoice_payments,
    invoices,
    payment_attempts,
    payment_intents,
    payment_methods,
    prices,
    products,
    refunds,
    renewals,
    setup_intents,
    subscriptions,
    webhook_endpoints,
)
from worker.sandbox.kind import Include
from worker.sandbox.later import Action

KINDS = {
    kind.path: kind
    for kind in (
        customers.KIND,
        payment_methods.KIND,
        payment_intents.KIND,
        charges.KIND,
        refunds.KIND,
        disputes.KIND,
        balance_transactions.KIND,
        setup_intents.KIND,
        checkout_sessions.KIND,
        products.KIND,
        prices.KIND,
        subscriptions.KIND,
        invoices.KIND,
        invoice_payments.KIND,
        webhook_endpoints.KIND,
        events.KIND,
    )
}

INCLUDABLE: dict[tuple[str, str], Include] = {
    (kind.name, name): include
    for kind in KINDS.values()
    for name, include in kind.includable.items()
}

DUE: dict[str, Action] = {
    "renew_subscription": renewals.renew,
    "expire_subscription": renewals.expire,
    "advance_invoice": collection.advance,
    "invoice_follows_payment": collection.follow,
    "payment_settles": payment_attempts.settle,
    "refund_succeeds": refunds.succeed,
    "refund_fails": refunds.fail,
    "dispute_verdict": disputes.decide,
    "dispute_lapses": disputes.lapse,
    "checkout_session_expires": checkout_sessions.lapse,
}
