"""The kinds of problems the API answers with (RFC 9457); docs/problems.md lists them."""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

# A URN, not an address: it stays true wherever an installation or its documentation moves.
PREFIX = "urn:fixbill:problem:"


class ProblemType(NamedTuple):
    """What a program may branch on is `uri`, and nothing else of a problem."""

    slug: str
    status: int
    title: str
    meaning: str
    remedy: str

    @property
    def uri(self) -> str:
        return PREFIX + self.slug


BAD_REQUEST = ProblemType(
    "bad-request", 400, "Bad request", "It is not HTTP as we read it.", "Mend the client."
)
BAD_WEBHOOK = ProblemType(
    "bad-webhook",
    400,
    "Bad webhook",
    "The webhook is not signed by Stripe for this installation, or is too old.",
    "Compare STRIPE_WEBHOOK_SECRET with Stripe's, and the two clocks.",
)
NO_KEY = ProblemType(
    "no-valid-key",
    401,
    "No valid API key",
    "There is no API key, or it is unknown, expired or revoked.",
    "Send `Authorization: Bearer fbk_…` with a key that is in force.",
)
WRONG_SCOPE = ProblemType(
    "wrong-scope",
    403,
    "Wrong scope",
    "The key is good, but may not do this.",
    "Use a key with the scope that `detail` names.",
)
NOT_YOUR_CUSTOMER = ProblemType(
    "not-your-customer",
    403,
    "Not a customer of this key",
    "The event is about a customer to whom the key is not bound.",
    "Use a key that is bound to this customer.",
)
UNKNOWN_CUSTOMER = ProblemType(
    "unknown-customer",
    404,
    "Unknown customer",
    "There is no such customer, or the key is not bound to them.",
    "Check the id, and which customers the key is bound to.",
)
UNKNOWN_OBJECT = ProblemType(
    "unknown-object",
    404,
    "Unknown object",
    "This customer has no such fix, charge, statement, cycle or link.",
    "Check the id; lists name those that there are.",
)
UNKNOWN_PATH = ProblemType(
    "unknown-path", 404, "Unknown path", "The API has no such path.", "Compare with `/docs`."
)
WRONG_METHOD = ProblemType(
    "wrong-method",
    405,
    "Wrong method",
    "The path is there, but not for this method.",
    "Use a method that the header `Allow` names.",
)
TOO_SLOW = ProblemType(
    "too-slow",
    408,
    "Too slow",
    "The request did not arrive within 10 seconds.",
    "Send the same again.",
)
CONFLICT = ProblemType(
    "conflict",
    409,
    "Conflict",
    "What is asked for does not fit the state of things.",
    "Read `detail`; asking again changes nothing.",
)
TOO_LARGE = ProblemType(
    "too-large",
    413,
    "Body too large",
    "The body is larger than this operation takes.",
    "Send smaller batches: 64 KiB an event, 4 MiB and 1,000 events a batch.",
)
BAD_FIELD = ProblemType(
    "bad-field",
    422,
    "Bad field",
    "A parameter or a field of the body is not as described; `field` names it.",
    "Mend the field; the same again is refused again.",
)
BAD_BODY = ProblemType(
    "bad-body",
    422,
    "Bad body",
    "The body as a whole cannot be read.",
    "Send UTF-8 JSON as described; the same again is refused again.",
)
BAD_CURSOR = ProblemType(
    "bad-cursor",
    422,
    "Bad cursor",
    "The cursor is of no list, or of another one.",
    "Begin again without a cursor.",
)
KEY_REUSED = ProblemType(
    "idempotency-key-reused",
    422,
    "Idempotency key reused",
    "This Idempotency-Key stands for another request already.",
    "Use a fresh key for each thing you do.",
)
RATE_LIMITED = ProblemType(
    "rate-limited",
    429,
    "Too many requests",
    "This API key asks, or publishes, more than its rate allows.",
    "Wait as many seconds as `Retry-After` says, then send the same again.",
)
TOO_MANY_GUESSES = ProblemType(
    "too-many-wrong-keys",
    429,
    "Too many wrong keys",
    "Too many unknown API keys came from this address.",
    "Wait as many seconds as `Retry-After` says; use the right key.",
)
HEAD_TOO_LARGE = ProblemType(
    "head-too-large",
    431,
    "Head too large",
    "The address and the headers are more than 16 KiB together.",
    "Send fewer or shorter ones.",
)
FAILED = ProblemType(
    "failed",
    500,
    "Failed",
    "Something failed on our side.",
    "Events: send the same again, nothing is billed twice. Else tell the operator.",
)
STRIPE_AWAY = ProblemType(
    "stripe-away",
    502,
    "Stripe gives no answer",
    "Stripe cannot be reached, or refused what we asked.",
    "Ask again later; nobody pays twice.",
)
DATABASE_AWAY = ProblemType(
    "database-away",
    503,
    "Database away",
    "The database cannot be reached, or is too busy.",
    "Send the same again.",
)
INBOX_AWAY = ProblemType(
    "inbox-away",
    503,
    "Inbox away",
    "The store of events cannot be reached.",
    "Send the same again.",
)
UNAVAILABLE = ProblemType(
    "unavailable",
    503,
    "Unavailable",
    "The installation cannot do this at present: too many connections, or a setting is missing.",
    "Read `detail`; send the same again later.",
)

TYPES = (
    BAD_REQUEST,
    BAD_WEBHOOK,
    NO_KEY,
    WRONG_SCOPE,
    NOT_YOUR_CUSTOMER,
    UNKNOWN_CUSTOMER,
    UNKNOWN_OBJECT,
    UNKNOWN_PATH,
    WRONG_METHOD,
    TOO_SLOW,
    CONFLICT,
    TOO_LARGE,
    BAD_FIELD,
    BAD_BODY,
    BAD_CURSOR,
    KEY_REUSED,
    RATE_LIMITED,
    TOO_MANY_GUESSES,
    HEAD_TOO_LARGE,
    FAILED,
    STRIPE_AWAY,
    DATABASE_AWAY,
    INBOX_AWAY,
    UNAVAILABLE,
)

# Where a refusal names no type.
USUAL = {
    400: BAD_REQUEST,
    401: NO_KEY,
    403: WRONG_SCOPE,
    404: UNKNOWN_OBJECT,
    405: WRONG_METHOD,
    408: TOO_SLOW,
    409: CONFLICT,
    413: TOO_LARGE,
    422: BAD_BODY,
    429: RATE_LIMITED,
    431: HEAD_TOO_LARGE,
    500: FAILED,
    502: STRIPE_AWAY,
    503: UNAVAILABLE,
}
FIELDS = {"cursor": BAD_CURSOR}  # where the field says more than the status


def usual_type(status: int, field: str | None = None) -> ProblemType:
    """What a problem with this status is, where nothing more is known of it."""
    if status == HTTPStatus.UNPROCESSABLE_ENTITY and field:
        return FIELDS.get(field, BAD_FIELD)
    return USUAL.get(status) or (BAD_REQUEST if status < 500 else FAILED)
