"""One call to Stripe: how it is sent, and what a reply, or none, comes to.

This and `stripe_webhooks.py` are the only files that import stripe.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import stripe
from stripe import StripeClient, StripeError

from worker import telemetry
from worker.billing.answers import Answer, AnswerKind, classify, of_intent

Reply = TypeVar("Reply")

CONNECT_SECONDS, READ_SECONDS = 5.0, 20.0
RETRIES = 2  # of the SDK, within one call and under the same key

# The version whose answers the rules read; another SDK brings another default.
API_VERSION = "2026-10-28.endive"

OURS = re.compile(r"[a-z]+_\S+")  # a key made from an id of ours; the SDK's own are bare UUIDs


class KeylessPost(RuntimeError):
    """A POST without a key of ours could be done twice; it is not sent."""


class StripeRefused(RuntimeError):
    """Stripe did not do what was asked for; the message is Stripe's."""

    def __init__(self, call: str, answer: Answer) -> None:
        super().__init__(answer.message or f"Stripe gave no clear reply to {call}; try again")
        self.answer = answer

    @property
    def unclear(self) -> bool:
        """It may be different in a moment."""
        return self.answer.kind in (AnswerKind.UNKNOWN, AnswerKind.LATER)


class KeyedRequests(stripe.RequestsClient):
    """The SDK makes up a key where none is given: good within one call, useless after a crash."""

    def request(  # type: ignore[override]
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None
    ) -> Any:
        key = (headers or {}).get("Idempotency-Key", "")
        if method == "post" and not OURS.fullmatch(key):
            raise KeylessPost(f"POST {url} carries no key of ours")
        return super().request(method, url, headers, post_data)


def open_client(
    api_key: str, api_base: str | None, timeout: tuple[float, float], retries: int
) -> StripeClient:
    return StripeClient(
        api_key,
        base_addresses={"api": api_base} if api_base else {},
        stripe_version=API_VERSION,
        max_network_retries=retries,
        http_client=KeyedRequests(timeout=timeout),
    )


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
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            # The SDK could not make sense of what came back.
            answer = Answer(AnswerKind.UNKNOWN, message=type(error).__name__)
        else:
            labels["answer"] = "ok"
            return reply, Answer(AnswerKind.READY)
        labels["answer"] = answer.kind
        return None, answer


def done(call: str, request: Callable[[], Reply]) -> Reply:
    """Stripe's reply, where only a reply will do; raises StripeRefused."""
    reply, answer = reply_to(call, request)
    if reply is None:
        raise StripeRefused(call, answer)
    return reply
