from __future__ import annotations

import stripe


def test_the_secret_of_a_webhook_endpoint_is_told_once(client: stripe.StripeClient) -> None:
    endpoint = client.v1.webhook_endpoints.create(
        {"url": "https://example.com/webhooks", "enabled_events": ["customer.created"]}
    )
    try:
        found = client.v1.webhook_endpoints.retrieve(endpoint.id)
        listed = client.v1.webhook_endpoints.list({"limit": 100}).data
    finally:
        gone = client.v1.webhook_endpoints.delete(endpoint.id)

    assert str(endpoint.secret).startswith("whsec_")
    assert "secret" not in found
    assert (found.url, found.enabled_events, found.status) == (
        "https://example.com/webhooks",
        ["customer.created"],
        "enabled",
    )
    assert not any("secret" in each for each in listed)
    assert gone.deleted is True
