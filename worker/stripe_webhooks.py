"""Stripe's webhooks: what is signed by Stripe, and what it is about."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

import stripe
from stripe import StripeError

from schemas.events import BadEvent, parse_json
from worker.billing.hints import Webhook, object_in

WEBHOOK_BYTES_MAX = 256 * 1024
SECONDS_DIGITS = 12  # of a Unix time, for the next thirty thousand years
SIGNATURE_SECONDS_MAX = 300  # how far a webhook's time may be off, either way

PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,255}")  # ids and types of Stripe's


class BadWebhook(ValueError):
    """Not a webhook of ours: answer 400 and keep nothing."""


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
    thing = event["data"].get("object")
    object_id = object_in(event["type"], thing) if isinstance(thing, dict) else None
    if object_id is not None and not PLAIN.fullmatch(object_id):
        object_id = None
    return Webhook(event["id"], event["type"], event["livemode"], object_id, body)
