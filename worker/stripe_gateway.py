"""Stripe, through its official SDK: every reply comes back as a value.

The only file that imports stripe.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import stripe
from stripe import StripeClient, StripeError

from schemas.events import BadEvent, parse_json
from schemas.ids import new_id
from worker import telemetry
from worker.billing.answers import Answer, AnswerKind, Webhook, classify, of_intent

Reply = TypeVar("Reply")

CONNECT_SECONDS, READ_SECONDS = 5, 20
LISTED_MAX = 300  # intents of one customer since an attempt began; far more than can be

WEBHOOK_BYTES_MAX = 256 * 1024
SECONDS_DIGITS = 12  # of a Unix time, for the next thirty thousand years
SIGNATURE_SECONDS_MAX = 300  # how far a webhook's time may be off, either way


PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,255}")  # ids and types of Stripe's


class BadWebhook(ValueError):
    """Not a webhook of ours: answer 400 and keep nothing."""


class StripeRefused(RuntimeError):
    """Stripe did not do what an operator asked for; the message is Stripe's."""


class Payment(NamedTuple):
    """A card was charged. `amount` is in minor units."""

    payment_intent: str
    amount: int
    stripe_customer: str | None


class StripeGateway:
    """One account at Stripe, or its sandbox. Never call it inside a transaction."""

    def __init__(self, api_key: str, api_base: str | None = None) -> None:
        self.livemode = is_live(api_key)
        self.client = StripeClient(
            api_key,
            base_addresses={"api": api_base} if api_base else {},
            max_network_retries=2,
            http_client=stripe.RequestsClient(timeout=(CONNECT_SECONDS, READ_SECONDS)),
        )
        self.intents = self.client.v1.payment_intents

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

    def payments(self) -> Iterator[Payment]:
        """Every payment Stripe says has succeeded, newest first; raises StripeRefused."""
        pages = done("payments", lambda: self.client.v1.charges.list({"limit": 100}))
        for charge in pages.auto_paging_iter():
            body = charge.to_dict()
            if body["status"] == "succeeded" and body["payment_intent"]:
                yield Payment(body["payment_intent"], body["amount"], body["customer"])

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

    def add_payment_method(self, stripe_customer: str, payment_method: str) -> str:
        """Attach a payment method and make it the default; raises StripeRefused."""
        attached = self.attach(stripe_customer, payment_method)
        default: Any = {"invoice_settings": {"default_payment_method": attached.id}}
        key: Any = {"idempotency_key": new_id("default")}
        done(
            "update_customer",
            lambda: self.client.v1.customers.update(stripe_customer, default, key),
        )
        return str(attached.id)

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


def is_live(api_key: str) -> bool:
    """Whether this key moves real money (sk_live_…, rk_live_…)."""
    return "_live_" in api_key


def is_for(charge_id: str, intent: Answer) -> bool:
    return intent.charge_id == charge_id and intent.kind is not AnswerKind.CANCELED


def ask(call: str, request: Callable[[], Any]) -> Answer:
    """The answer about one payment intent."""
    intent, refusal = reply_to(call, request)
    return refusal if intent is None else of_intent(intent.to_dict())


def reply_to(call: str, request: Callable[[], Reply]) -> tuple[Reply | None, Answer]:
    """Stripe's reply, or the answer that its absence is; timed either way."""
    with telemetry.stripe_call(call) as labels:
        try:
            reply = request()
        except StripeError as error:
            answer = classify(error.http_status, error.json_body)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            # The SDK could not make sense of what came back.
            answer = Answer(AnswerKind.UNKNOWN, message=type(error).__name__)
        else:
            labels["answer"] = "ok"
            return reply, Answer(AnswerKind.READY)
        labels["answer"] = answer.kind
        return None, answer


def done(call: str, request: Callable[[], Reply]) -> Reply:
    """Stripe's reply to an operator's wish; raises StripeRefused."""
    reply, answer = reply_to(call, request)
    if reply is None:
        raise StripeRefused(answer.message or f"Stripe gave no clear reply to {call}; try again")
    return reply


def verified_webhook(
    body: bytes, signature: str | None, secrets: Iterable[str], now: datetime
) -> Webhook:
    """The event in a webhook signed with any of our secrets; raises BadWebhook.

    The SDK takes a timestamp from the future for good, and raises half a dozen kinds of errors
    for malformed input.
    """
    if not signed_with_any(body, signature, secrets):
        raise BadWebhook("the signature does not match; check STRIPE_WEBHOOK_SECRET")
    stamp = next(part[2:] for part in (signature or "").split(",") if part.startswith("t="))
    if len(stamp) > SECONDS_DIGITS or abs(now.timestamp() - int(stamp)) > SIGNATURE_SECONDS_MAX:
        raise BadWebhook("the signature's time is more than 300 s off; check the clocks")
    try:
        return parse_webhook(body)
    except BadEvent as error:
        raise BadWebhook(str(error)) from error


def intent_in(event: dict[str, Any]) -> str | None:
    """The payment intent an event is about, if it is about one."""
    thing = event["data"].get("object")
    if not isinstance(thing, dict):
        return None
    own = event["type"].startswith("payment_intent.")
    intent = thing.get("id" if own else "payment_intent")
    return intent if isinstance(intent, str) and PLAIN.fullmatch(intent) else None


def signed_with_any(body: bytes, signature: str | None, secrets: Iterable[str]) -> bool:
    for secret in secrets:
        try:
            stripe.WebhookSignature.verify_header(
                body, signature, secret, tolerance=SIGNATURE_SECONDS_MAX
            )
        except (StripeError, ValueError, TypeError):
            continue
        return True
    return False


def parse_webhook(body: bytes) -> Webhook:
    event = parse_json(body, WEBHOOK_BYTES_MAX, depth_max=32)
    if not isinstance(event, dict) or event.get("object") != "event":
        raise BadWebhook("the body is no Stripe event")
    for field, kind in (("id", str), ("type", str), ("livemode", bool), ("data", dict)):
        found = event.get(field)
        if not isinstance(found, kind) or (isinstance(found, str) and not PLAIN.fullmatch(found)):
            raise BadWebhook(f"{field} is missing or not what Stripe sends")
    return Webhook(event["id"], event["type"], event["livemode"], intent_in(event), body)
