"""What Stripe's SDK alone takes for a charge: an intent is created, then confirmed.

python -m tests.bench.peers.two_stripe_calls STRIPE_API_BASE STRIPE_API_KEY THREADS CARD …
(a card is CUSTOMER:STRIPE_CUSTOMER:PAYMENT_METHOD). It keeps no books and survives no crash.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import stripe

from tests.bench.resources import processor_seconds


def collect(client: stripe.StripeClient, card: str) -> None:
    ours, customer, method = card.split(":")
    intent = client.v1.payment_intents.create(
        {
            "amount": 2900,
            "currency": "usd",
            "customer": customer,
            "payment_method": method,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "description": "Automated security fixes",
            "metadata": {"customer_id": ours},
        }
    )
    paid = client.v1.payment_intents.confirm(
        intent.id, {"payment_method": method, "off_session": True}
    )
    assert paid.status == "succeeded", paid


def main(api_base: str, api_key: str, threads: str, *cards: str) -> None:
    client = stripe.StripeClient(
        api_key, base_addresses={"api": api_base}, http_client=stripe.RequestsClient(timeout=20)
    )
    busy, begun = processor_seconds(), perf_counter()
    with ThreadPoolExecutor(int(threads)) as pool:
        list(pool.map(lambda card: collect(client, card), cards))
    found = {"seconds": perf_counter() - begun, "busy": processor_seconds() - busy}
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
