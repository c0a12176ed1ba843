"""Answers as Stripe words them, and the ways to refuse a call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What the caller is told: a status and a body, with headers beyond the usual ones."""

    status: int
    body: JsonObject
    headers: dict[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """The call is turned down and changes nothing.

    Stripe keeps no answer for a call whose parameters were wrong, but does keep one that failed
    after it had begun; `begun` says which of the two this is.
    """

    def __init__(self, answer: Answer, *, begun: bool = False) -> None:
        super().__init__(answer.body["error"]["message"])
        self.answer = answer
        self.begun = begun


def error(status: int, kind: str, message: str, **facts: Any) -> Answer:
    """An answer in the form every Stripe error has; facts that are None are left out."""
    body = {"message": message, "type": kind}
    body |= {name: fact for name, fact in facts.items() if fact is not None}
    if code := facts.get("code"):
        body["doc_url"] = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"
    return Answer(status, {"error": body})


def invalid(
    message: str, *, param: str | None = None, code: str | None = None, status: int = 400
) -> Refusal:
    """The parameters are wrong."""
    return Refusal(error(status, "invalid_request_error", message, param=param, code=code))


def missing_param(param: str) -> Refusal:
    """A call cannot do without this parameter."""
    return invalid(f"Missing required param: {param}.", param=param, code="parameter_missing")


def missing_object(kind: str, wanted: str, param: str, *, status: int = 400) -> Refusal:
    """404 when the URL names it, 400 when a parameter does."""
    return invalid(
        f"No such {kind}: '{wanted}'", param=param, code="resource_missing", status=status
    )


def unexpected_state(message: str, intent: JsonObject) -> Refusal:
    """The intent's status does not allow this."""
    answer = error(
        400,
        "invalid_request_error",
        message,
        code=f"{intent['object']}_unexpected_state",
        **{intent["object"]: intent},
    )
    return Refusal(answer, begun=True)


def not_in_sandbox(param: str) -> Refusal:
    """Stripe knows this parameter, the sandbox does not: better refused than silently ignored."""
    return invalid(
        f"The sandbox does not implement '{param}'.", param=param, code="sandbox_unsupported"
    )


def card_error(message: str, **facts: Any) -> Answer:
    """The card was declined."""
    return error(402, "card_error", message, **facts)


def card_refused(message: str, **facts: Any) -> Refusal:
    """The card was declined and nothing else happened, which is an answer Stripe keeps."""
    return Refusal(card_error(message, **facts), begun=True)


def unauthorized(sent: str | None) -> Answer:
    """The API key is absent or not the one this sandbox was started with."""
    if not sent:
        message = "You did not provide an API key."
    else:
        message = f"Invalid API Key provided: {sent[:8]}{'*' * 8}{sent[-4:]}"
    return error(401, "invalid_request_error", message)


def server_error() -> Answer:
    """Stripe's own failure; the caller cannot know what happened."""
    return error(500, "api_error", "An unknown error occurred.")


def rate_limited() -> Answer:
    """Too many requests; the call never began."""
    return error(429, "invalid_request_error", "Request rate limit exceeded.", code="rate_limit")


def lock_timeout() -> Answer:
    """Another request held the object; the call never began."""
    answer = error(
        429,
        "invalid_request_error",
        "This object cannot be accessed right now because another API request or Stripe process"
        " is currently accessing it.",
        code="lock_timeout",
    )
    return Answer(answer.status, answer.body, {"Stripe-Should-Retry": "true"})


def key_in_use(key: str) -> Answer:
    """The same idempotency key is being worked on."""
    return error(
        409,
        "invalid_request_error",
        f"There is currently another in-progress request using this Idempotent Key: {key}."
        " Please try again later.",
        code="idempotency_key_in_use",
    )


def key_reused(key: str, same: str) -> Refusal:
    """The key was used before for something else."""
    return Refusal(
        error(
            400,
            "idempotency_error",
            f"Keys for idempotent requests can only be used {same} they were first used with."
            f" Try using a key other than '{key}' if you meant to execute a different request.",
        )
    )
