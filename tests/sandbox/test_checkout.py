from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import stripe

from tests.sandbox.browser import led_to, look, submit
from tests.sandbox.conftest import unconfirmed
from tests.sandbox.sandbox_process import DAY, RunningSandbox, running_sandbox

GOOD = "4242 4242 4242 4242"
WITH_3D_SECURE = "4000002500003155"


def opened(client: stripe.StripeClient, **more: Any) -> stripe.checkout.Session:
    """A session that waits for its customer."""
    wish: Any = {
        "mode": "setup",
        "currency": "usd",
        "success_url": "https://example.com/done?session={CHECKOUT_SESSION_ID}",
        "cancel_url": "https://example.com/cancel",
        **more,
    }
    return client.v1.checkout.sessions.create(wish)


def set_up(client: stripe.StripeClient, session: stripe.checkout.Session) -> stripe.SetupIntent:
    found = client.v1.checkout.sessions.retrieve(session.id, {"expand": ["setup_intent"]})
    assert isinstance(found.setup_intent, stripe.SetupIntent)
    return found.setup_intent


def status_of(client: stripe.StripeClient, session: stripe.checkout.Session) -> str | None:
    return client.v1.checkout.sessions.retrieve(session.id).status


def test_a_customer_saves_a_card(client: stripe.StripeClient) -> None:
    customer = client.v1.customers.create({"name": "Ada", "email": "ada@example.com"})
    session = opened(
        client,
        customer=customer.id,
        client_reference_id="c1",
        metadata={"plan": "team"},
        setup_intent_data={"metadata": {"consent": "v3"}},
        custom_text={"submit": {"message": "At most $500.00 a month."}},
    )
    page = look(session.url).text
    assert all(words in page for words in ("Ada", "At most $500.00 a month.", "sandbox"))

    done = led_to(submit(session.url, number=GOOD))

    assert done == f"https://example.com/done?session={session.id}"
    after = client.v1.checkout.sessions.retrieve(session.id)
    assert (after.status, after.url, after.client_reference_id) == ("complete", None, "c1")
    assert after.customer_details is not None
    assert after.customer_details.email == "ada@example.com"
    intent = set_up(client, session)
    assert (intent.status, intent.customer, intent.usage) == (
        "succeeded",
        customer.id,
        "off_session",
    )
    assert intent.metadata is not None
    assert intent.metadata.to_dict() == {"consent": "v3"}
    owned = client.v1.customers.payment_methods.list(customer.id).data
    assert [card.id for card in owned] == [intent.payment_method]


def test_a_saved_card_is_told_in_events_and_only_once(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    session = opened(client, customer=customer.id)

    answers = [submit(session.url, number=GOOD) for _ in range(2)]

    assert len({led_to(answer) for answer in answers}) == 1
    assert "All done" in look(session.url).text
    intent = set_up(client, session)
    about = {session.id, intent.id, intent.payment_method}
    events = client.v1.events.list({"limit": 100}).data[::-1]
    assert [event.type for event in events if event.data.object["id"] in about] == [
        "setup_intent.created",
        "payment_method.attached",
        "setup_intent.succeeded",
        "checkout.session.completed",
    ]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("4000000000000002", "Your card was declined."),
        ("4000000000000069", "Your card has expired."),
        ("4242424242424241", "Your card number is incorrect."),
        ("4242", "Your card number is incorrect."),
        ("4111111111111111", "used a non test (live) card"),
        ("", "Your card number is incorrect."),
    ],
)
def test_a_refused_card_is_explained_and_another_one_is_taken(
    client: stripe.StripeClient, customer: stripe.Customer, number: str, words: str
) -> None:
    session = opened(client, customer=customer.id)

    refused = submit(session.url, number=number)

    assert refused.status_code == 200
    assert words in refused.text
    assert f'value="{number}"' in refused.text
    assert status_of(client, session) == "open"
    led_to(submit(session.url, number=GOOD))
    assert status_of(client, session) == "complete"


def test_the_bank_may_want_to_see_the_customer_first(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    session = opened(client, customer=customer.id)
    bank = led_to(submit(session.url, number=WITH_3D_SECURE))
    assert status_of(client, session) == "open"
    assert "Visa •••• 3155" in look(bank).text

    done = led_to(submit(bank, outcome="complete"))

    assert done == f"https://example.com/done?session={session.id}"
    assert led_to(submit(bank, outcome="complete")) == done
    assert status_of(client, session) == "complete"
    card = set_up(client, session).payment_method
    assert isinstance(card, str)
    alone = unconfirmed(client, customer, card)
    assert client.v1.payment_intents.confirm(alone.id, {"off_session": True}).status == "succeeded"


def test_failed_authentication_leads_back_to_the_page(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    session = opened(client, customer=customer.id)
    bank = led_to(submit(session.url, number=WITH_3D_SECURE))

    back = led_to(submit(bank, outcome="fail"))

    assert back == session.url
    assert "authentication failed" in look(back).text
    led_to(submit(back, number=GOOD))
    assert status_of(client, session) == "complete"


def test_every_text_on_the_page_is_escaped(client: stripe.StripeClient) -> None:
    trick = "<script>\"'&"
    customer = client.v1.customers.create({"name": trick})
    session = opened(
        client,
        customer=customer.id,
        cancel_url=f"https://example.com/{trick}",
        custom_text={"submit": {"message": trick}},
    )

    pages = look(session.url).text + submit(session.url, number=trick).text

    assert "<script" not in pages
    assert pages.count("&lt;script&gt;&quot;&#x27;&amp;") == 7
    assert "default-src 'none'" in look(session.url).headers["Content-Security-Policy"]


def test_a_customer_may_cancel(client: stripe.StripeClient) -> None:
    with_a_way_out, without = opened(client), opened(client, cancel_url=None)

    assert 'href="https://example.com/cancel"' in look(with_a_way_out.url).text
    assert "Cancel" not in look(without.url).text
    assert status_of(client, with_a_way_out) == "open"


def test_a_session_without_a_customer_saves_a_card_that_belongs_to_nobody(
    client: stripe.StripeClient,
) -> None:
    session = opened(client)

    led_to(submit(session.url, number=GOOD))

    card = set_up(client, session).payment_method
    assert isinstance(card, str)
    assert client.v1.payment_methods.retrieve(card).customer is None


def test_an_expired_session_takes_no_card(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    session = opened(client, customer=customer.id)
    bank = led_to(submit(session.url, number=WITH_3D_SECURE))

    expired = client.v1.checkout.sessions.expire(session.id)

    assert (expired.status, expired.url) == ("expired", None)
    assert (look(session.url).status_code, submit(session.url, number=GOOD).status_code) == (
        410,
        410,
    )
    assert led_to(submit(bank, outcome="complete")) == session.url
    assert set_up(client, session).status == "canceled"
    with pytest.raises(stripe.InvalidRequestError, match="status of `expired`"):
        client.v1.checkout.sessions.expire(session.id)


def test_an_open_session_expires_after_a_day_and_a_complete_one_never(tmp_path: Path) -> None:
    with running_sandbox(tmp_path) as sandbox:
        client = sandbox.client()
        first, second = opened(client), opened(client)
        hasty = opened(client, expires_at=sandbox.ask("GET", "clock")["now"] + DAY // 2)
        submit(second.url, number=GOOD)

        sandbox.advance(DAY // 2 + 60)
        assert (status_of(client, first), status_of(client, hasty)) == ("open", "expired")
        sandbox.advance(DAY // 2)

        assert (status_of(client, first), status_of(client, second)) == ("expired", "complete")
        told_of = client.v1.events.list({"type": "checkout.session.expired"}).data
        assert [event.data.object["id"] for event in told_of] == [first.id, hasty.id]
        assert told_of[0].created == first.expires_at


def test_sessions_are_listed_by_customer_and_status(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    first, second = opened(client, customer=customer.id), opened(client, customer=customer.id)
    submit(second.url, number=GOOD)

    both = client.v1.checkout.sessions.list({"customer": customer.id}).data
    waiting = client.v1.checkout.sessions.list({"customer": customer.id, "status": "open"}).data

    assert [session.id for session in both] == [second.id, first.id]
    assert [session.id for session in waiting] == [first.id]


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"mode": "payment"}, "mode"),
        ({"ui_mode": "embedded_page"}, "ui_mode"),
        ({"line_items": [{"price": "price_1", "quantity": 1}]}, "line_items"),
        ({"success_url": "javascript:alert(1)"}, "success_url"),
        ({"success_url": None}, "success_url"),
        ({"cancel_url": "/cancel"}, "cancel_url"),
        ({"currency": None}, "currency"),
        ({"customer": "cus_unknown"}, "customer"),
        ({"currency": "dollars"}, "currency"),
        ({"expires_at": 1}, "expires_at"),
        ({"custom_text": {"submit": {"message": "x" * 1201}}}, "custom_text[submit][message]"),
        ({"setup_intent_data": {"on_behalf_of": "a"}}, "setup_intent_data[on_behalf_of]"),
    ],
)
def test_a_session_the_sandbox_cannot_hold_is_refused(
    client: stripe.StripeClient, wrong: dict[str, Any], param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        opened(client, **wrong)

    assert refused.value.param == param


def test_there_is_no_page_without_a_session(sandbox: RunningSandbox) -> None:
    assert look(f"{sandbox.url}/checkout/cs_test_unknown").status_code == 404
