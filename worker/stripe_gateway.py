"""What we ask of Stripe: every reply comes back as a value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from schemas.ids import new_id
from schemas.plans import PlanVersion
from worker.billing.answers import Answer, AnswerKind, of_intent
from worker.billing.drift import Window
from worker.billing.stripe_objects import (
    Payment,
    Sold,
    StripeDispute,
    StripeFee,
    StripeInvoice,
    StripeRefund,
    StripeSubscription,
    dispute_in,
    fee_in,
    invoice_in,
    moment,
    payment_in,
    refund_in,
    sold_in,
    subscription_in,
)
from worker.stripe_calls import (
    CONNECT_SECONDS,
    READ_SECONDS,
    RETRIES,
    StripeRefused,
    ask,
    done,
    open_client,
    reply_to,
)

LISTED_MAX = 300  # intents of one customer since an attempt began; far more than can be


# What a restricted key must be allowed.
READ = (
    "customers",
    "payment_intents",
    "charges",
    "refunds",
    "disputes",
    "balance_transactions",
    "events",
    "invoices",
    "subscriptions",
    "prices",
)
WRITTEN = (
    "payment_intents",
    "refunds",
    "subscriptions",
    "prices",
)  # nothing comes of creating these without parameters


class SavedMethod(NamedTuple):
    """A card that a customer has put in."""

    stripe_customer: str
    payment_method: str


class SetupSession(NamedTuple):
    """A page on which a customer can put one in."""

    url: str
    expires_at: datetime


class StripeGateway:
    """One account at Stripe, or its sandbox. Never call it inside a transaction."""

    def __init__(
        self,
        api_key: str,
        api_base: str | None = None,
        *,
        timeout: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
        retries: int = RETRIES,
    ) -> None:
        self.livemode = is_live(api_key)
        self.client = open_client(api_key, api_base, timeout, retries)
        self.intents = self.client.v1.payment_intents
        self.sold: dict[str, Sold | None] = {}  # by price; what one is for never changes

    def create_intent(self, parameters: Mapping[str, Any], key: str) -> Answer:
        """An unconfirmed intent: no money moves."""
        request: Any = parameters
        return ask("create", lambda: self.intents.create(request, {"idempotency_key": key}))

    def confirm_intent(self, intent: str, payment_method: str, key: str) -> Answer:
        """Charge the card, without the customer present."""
        return ask(
            "confirm",
            lambda: self.intents.confirm(
                intent,
                {"payment_method": payment_method, "off_session": True},
                {"idempotency_key": key},
            ),
        )

    def cancel_intent(self, intent: str) -> Answer:
        """It can never be paid afterwards; that is the point."""
        key: Any = {"idempotency_key": new_id(f"{intent}-cancel")}
        return ask("cancel", lambda: self.intents.cancel(intent, {}, key))

    def retrieve_intent(self, intent: str) -> Answer:
        return ask("retrieve", lambda: self.intents.retrieve(intent))

    def find_intent(self, stripe_customer: str, charge_id: str, since: datetime) -> Answer | None:
        """The customer's intent for this charge of ours; None if there is none.

        By list, not by search: search runs behind (docs.stripe.com/search).
        """

        wanted: Any = {
            "customer": stripe_customer,
            "created": {"gte": int(since.timestamp())},
            "limit": 100,
        }

        def listed() -> list[Answer]:
            intents = self.intents.list(wanted).auto_paging_iter()
            return [of_intent(each.to_dict()) for each in islice(intents, LISTED_MAX)]

        found, refusal = reply_to("list", listed)
        if found is None:
            return refusal
        return next((each for each in found if is_for(charge_id, each)), None)

    def create_refund(self, parameters: Mapping[str, Any], key: str) -> StripeRefund | Answer:
        request: Any = parameters
        refunds = self.client.v1.refunds
        made, refusal = reply_to(
            "create_refund",
            lambda: refund_in(refunds.create(request, {"idempotency_key": key}).to_dict()),
        )
        return refusal if made is None else made

    def find_refund(self, payment_intent: str, refund_id: str) -> StripeRefund | Answer | None:
        """What Stripe made of this refund of ours; None if it never reached Stripe."""
        wanted: Any = {"payment_intent": payment_intent, "limit": 100}

        def listed() -> list[StripeRefund]:
            found = self.client.v1.refunds.list(wanted).auto_paging_iter()
            return [refund_in(each.to_dict()) for each in found]

        found, refusal = reply_to("list_refunds", listed)
        if found is None:
            return refusal
        return next((each for each in found if each.refund_id == refund_id), None)

    def refund(self, stripe_refund: str) -> StripeRefund:
        """Raises StripeRefused, as all that follow."""
        refunds = self.client.v1.refunds
        return done("retrieve_refund", lambda: refund_in(refunds.retrieve(stripe_refund).to_dict()))

    def has_refund(self, stripe_refund: str) -> bool:
        """Whether Stripe knows of it; raises StripeRefused if that is unclear."""
        try:
            self.refund(stripe_refund)
        except StripeRefused as refusal:
            if refusal.unclear:
                raise
            return False
        return True

    def dispute(self, dispute_id: str) -> StripeDispute:
        disputes = self.client.v1.disputes
        return done("retrieve_dispute", lambda: dispute_in(disputes.retrieve(dispute_id).to_dict()))

    def invoice(self, invoice_id: str) -> StripeInvoice:
        wanted: Any = {"expand": ["payments"]}
        invoices = self.client.v1.invoices
        return done(
            "retrieve_invoice", lambda: invoice_in(invoices.retrieve(invoice_id, wanted).to_dict())
        )

    def invoice_of(self, payment_intent: str) -> str | None:
        """The invoice this payment is for, if it is for one."""
        wanted: Any = {"payment": {"type": "payment_intent", "payment_intent": payment_intent}}
        found = done(
            "list_invoice_payments", lambda: self.client.v1.invoice_payments.list(wanted).data
        )
        return next((str(each.to_dict()["invoice"]) for each in found), None)

    def subscription(self, subscription_id: str) -> StripeSubscription:
        subscriptions = self.client.v1.subscriptions
        return done(
            "retrieve_subscription",
            lambda: subscription_in(subscriptions.retrieve(subscription_id).to_dict()),
        )

    def find_subscription(self, stripe_customer: str, order_id: str) -> StripeSubscription | None:
        """What was made for this order of ours, whatever became of it."""
        wanted: Any = {"customer": stripe_customer, "status": "all", "limit": 100}
        found = done(
            "list_subscriptions",
            lambda: [
                subscription_in(each.to_dict())
                for each in self.client.v1.subscriptions.list(wanted).auto_paging_iter()
            ],
        )
        return next((each for each in found if each.order_id == order_id), None)

    def create_subscription(self, parameters: Mapping[str, Any], key: str) -> StripeSubscription:
        """With an unpaid invoice: no money moves."""
        request: Any = parameters
        subscriptions = self.client.v1.subscriptions
        return done(
            "create_subscription",
            lambda: subscription_in(
                subscriptions.create(request, {"idempotency_key": key}).to_dict()
            ),
        )

    def pay_invoice(self, invoice_id: str, key: str) -> None:
        """Charge the customer's card for it; Stripe does so once, whatever the keys are."""
        invoices = self.client.v1.invoices
        done(
            "pay_invoice",
            lambda: invoices.pay(invoice_id, {"off_session": True}, {"idempotency_key": key}),
        )

    def end_with_period(self, subscription_id: str, *, ends: bool) -> StripeSubscription:
        """Let it end with the period that is running, or go on after all."""
        wanted: Any = {"cancel_at_period_end": ends}
        key: Any = {"idempotency_key": new_id(f"{subscription_id}-end")}
        subscriptions = self.client.v1.subscriptions
        return done(
            "update_subscription",
            lambda: subscription_in(subscriptions.update(subscription_id, wanted, key).to_dict()),
        )

    def cancel_subscription(self, subscription_id: str) -> StripeSubscription:
        key: Any = {"idempotency_key": new_id(f"{subscription_id}-cancel")}
        subscriptions = self.client.v1.subscriptions
        return done(
            "cancel_subscription",
            lambda: subscription_in(subscriptions.cancel(subscription_id, {}, key).to_dict()),
        )

    def price_of_plan(self, plan: str, version: PlanVersion, title: str) -> str:
        """Stripe's id of what this version of a plan costs a month; made there if need be."""
        assert version.subscription is not None  # noqa: S101 - the caller looked
        lookup_key = f"fixbill_{plan}_{version.effective}"
        wanted: Any = {"lookup_keys": [lookup_key], "limit": 1}
        found = done("list_prices", lambda: self.client.v1.prices.list(wanted).data)
        if found:
            return str(found[0].id)
        parameters: Any = {
            "unit_amount": version.subscription.amount,
            "currency": version.subscription.currency,
            "recurring": {"interval": "month"},
            "product_data": {"name": title},
            "lookup_key": lookup_key,
            "metadata": {"plan": plan, "version": str(version.effective)},
        }
        made = done(
            "create_price",
            lambda: self.client.v1.prices.create(
                parameters, {"idempotency_key": f"price_{lookup_key}"}
            ),
        )
        return str(made.id)

    def sold_by(self, price: str) -> Sold | None:
        """Which version of a plan of ours this price was made for, if for one."""
        if price not in self.sold:
            body = done("retrieve_price", lambda: self.client.v1.prices.retrieve(price).to_dict())
            self.sold[price] = sold_in(body)
        return self.sold[price]

    def invoices(self, window: Window) -> Iterator[StripeInvoice]:
        """Those that are paid."""
        found = self.all_of("invoices", window, status="paid", expand=["data.payments"])
        return (invoice_in(body) for body in found)

    def live_subscriptions(self) -> Iterator[StripeSubscription]:
        """Those that have not ended."""
        return (subscription_in(body) for body in self.all_of("subscriptions", None))

    def payments(self, window: Window | None = None) -> Iterator[Payment]:
        """Every payment that has succeeded, newest first."""
        found = (payment_in(body) for body in self.all_of("charges", window))
        return (each for each in found if each is not None)

    def refunds(self, window: Window | None = None) -> Iterator[StripeRefund]:
        found = self.all_of("refunds", window)
        return (refund_in(body) for body in found if body["payment_intent"])

    def disputes(self, window: Window | None = None) -> Iterator[StripeDispute]:
        found = self.all_of("disputes", window)
        return (dispute_in(body) for body in found if body["payment_intent"])

    def fees(self, window: Window) -> Iterator[StripeFee]:
        """What Stripe kept or gave back of payments, newest first."""
        found = self.all_of("balance_transactions", window, expand=["data.source"])
        return (each for each in map(fee_in, found) if each is not None)

    def undelivered_events(self, window: Window) -> Iterator[Mapping[str, Any]]:
        """Events of which no webhook got through; Stripe keeps them for 30 days."""
        return self.all_of("events", window, delivery_success=False)

    def events(self, window: Window) -> list[Mapping[str, Any]]:
        """Every event, oldest first."""
        return list(self.all_of("events", window))[::-1]

    def all_of(self, kind: str, window: Window | None, **more: Any) -> Iterator[Mapping[str, Any]]:
        """All pages of one of Stripe's lists, newest first."""
        wanted: Any = {"limit": 100, **more}
        if window is not None:
            since, until = (int(each.timestamp()) for each in window)
            wanted["created"] = {"gte": since, "lte": until}
        pages = done(kind, lambda: getattr(self.client.v1, kind).list(wanted)).auto_paging_iter()
        while found := done(kind, lambda: list(islice(pages, 100))):
            yield from (each.to_dict() for each in found)

    def missing_permissions(self) -> list[str]:
        """What this key, if it is a restricted one, may not do and we need.

        Writing is tried with nothing to write: a key that may is told which parameter is missing.
        """
        v1 = self.client.v1
        read = [
            f"read {kind}" for kind in READ if is_forbidden(getattr(v1, kind).list, {"limit": 1})
        ]
        written = [
            f"write {kind}" for kind in WRITTEN if is_forbidden(getattr(v1, kind).create, {})
        ]
        return read + written

    def create_customer(self, customer_id: str, name: str | None, email: str | None) -> str:
        """Stripe's id for our customer; raises StripeRefused.

        No money moves here, so each call has a key of its own: a stored error must not come back,
        and a customer that was made twice costs nothing.
        """
        parameters: Any = {"metadata": {"customer_id": customer_id}}
        parameters |= {k: v for k, v in (("name", name), ("email", email)) if v}
        made = done(
            "create_customer",
            lambda: self.client.v1.customers.create(
                parameters, {"idempotency_key": new_id("customer")}
            ),
        )
        return str(made.id)

    def delete_customer(self, stripe_customer: str) -> None:
        """Name, email and cards go, payments stay; whom Stripe does not know is gone already.

        Raises StripeRefused.
        """
        try:
            done("delete_customer", lambda: self.client.v1.customers.delete(stripe_customer))
        except StripeRefused as refusal:
            if refusal.answer.code != "resource_missing":
                raise

    def add_payment_method(self, stripe_customer: str, payment_method: str) -> str:
        """Attach a payment method and make it the default; raises StripeRefused."""
        attached = self.attach(stripe_customer, payment_method)
        self.make_default(stripe_customer, attached.id)
        return str(attached.id)

    def create_setup_session(self, parameters: Mapping[str, Any]) -> SetupSession:
        """A page that saves a card; no money moves. Raises StripeRefused."""
        request: Any = parameters
        key: Any = {"idempotency_key": new_id("setup")}
        sessions = self.client.v1.checkout.sessions
        made = done("create_checkout", lambda: sessions.create(request, key).to_dict())
        return SetupSession(made["url"], moment(made["expires_at"]))

    def authenticate(
        self, intent: str, payment_method: str, return_url: str
    ) -> tuple[Answer, str | None]:
        """Confirm with the customer present; the second is where their bank wants to see them.

        Each click has a key of its own: an intent succeeds at most once whatever the keys are.
        """
        wanted: Any = {"payment_method": payment_method, "return_url": return_url}
        key: Any = {"idempotency_key": new_id(f"{intent}-customer")}
        found, refusal = reply_to(
            "authenticate", lambda: self.intents.confirm(intent, wanted, key).to_dict()
        )
        if found is None:
            return refusal, None
        action = found.get("next_action") or {}
        return of_intent(found), (action.get("redirect_to_url") or {}).get("url")

    def saved_by_checkout(self, session_id: str) -> SavedMethod | None:
        """The payment method a finished session has saved; raises StripeRefused."""
        sessions = self.client.v1.checkout.sessions
        wanted: Any = {"expand": ["setup_intent"]}
        body = done("retrieve_checkout", lambda: sessions.retrieve(session_id, wanted).to_dict())
        intent = body.get("setup_intent") or {}
        if body["status"] != "complete" or intent.get("status") != "succeeded":
            return None
        return SavedMethod(body["customer"], intent["payment_method"])

    def make_default(self, stripe_customer: str, payment_method: str) -> None:
        default: Any = {"invoice_settings": {"default_payment_method": payment_method}}
        key: Any = {"idempotency_key": new_id("default")}
        done(
            "update_customer",
            lambda: self.client.v1.customers.update(stripe_customer, default, key),
        )

    def default_payment_method(self, stripe_customer: str) -> str | None:
        body = done(
            "retrieve_customer",
            lambda: self.client.v1.customers.retrieve(stripe_customer).to_dict(),
        )
        found: str | None = (body.get("invoice_settings") or {}).get("default_payment_method")
        return found

    def owner_of_payment_method(self, payment_method: str) -> str | None:
        """Stripe's id of the customer it is attached to."""
        methods = self.client.v1.payment_methods
        body = done("retrieve_method", lambda: methods.retrieve(payment_method).to_dict())
        found: str | None = body.get("customer")
        return found

    def attach(self, stripe_customer: str, payment_method: str) -> Any:
        """The payment method, attached now or before; raises StripeRefused."""
        methods = self.client.v1.payment_methods
        key: Any = {"idempotency_key": new_id("attach")}
        try:
            return done(
                "attach", lambda: methods.attach(payment_method, {"customer": stripe_customer}, key)
            )
        except StripeRefused:
            found, _ = reply_to("retrieve_method", lambda: methods.retrieve(payment_method))
            if found is None or found.to_dict().get("customer") != stripe_customer:
                raise
            return found


def is_forbidden(probe: Callable[..., Any], parameters: Any) -> bool:
    options = {"idempotency_key": new_id("probe")}
    _, answer = reply_to("probe", lambda: probe(parameters, options))
    return answer.status in (401, 403)


def is_live(api_key: str) -> bool:
    """Whether this key moves real money (sk_live_…, rk_live_…)."""
    return "_live_" in api_key


def is_for(charge_id: str, intent: Answer) -> bool:
    return intent.charge_id == charge_id and intent.kind is not AnswerKind.CANCELED
