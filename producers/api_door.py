"""The HTTP door: one event or a batch to Fixbill's API, a receipt for each."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from math import ceil
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError
from urllib3 import PoolManager, Timeout
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError
from urllib3.util import parse_url

from producers.doors import Answered, BadAddress, Undelivered
from schemas.events import BadEvent, Event, parse_json
from schemas.receipts import Receipt, receipt

PATH = "/api/v1/billing/track_fix"
KEY = re.compile(r"[!-~]+")
CONNECT_SECONDS = 3.0
READ_SECONDS = 10.0
PATIENCE_SECONDS = 60.0  # with an API that says when to come again, per request
WAIT_SECONDS_MAX = 25.0  # one request; what stands between us and the API often cuts at 30
ANSWER_BYTES_MAX = 4 * 1024 * 1024
DETAIL_MAX = 500

# "Not now": a time-out, too early, too many.
LATER = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


class ReceiptOfApi(Receipt):
    """A receipt, from an API that may be newer than we are."""

    model_config = ConfigDict(extra="ignore")


class Results(BaseModel):
    results: list[ReceiptOfApi]


class ProblemOfApi(BaseModel):
    """RFC 9457, where every member may be missing."""

    title: str = ""
    detail: str = ""
    field: str | None = None


class Reply(NamedTuple):
    """What came back over HTTP; `again` is when to ask again, in seconds, if that was said."""

    status: int
    kind: str
    body: bytes
    again: int | None


@dataclass(frozen=True)
class ApiDoor:
    """One API and the key we send events with."""

    url: str
    key: str = field(repr=False)
    read_seconds: float = READ_SECONDS
    pool: PoolManager = field(default_factory=lambda: PoolManager(maxsize=1), repr=False)

    def __post_init__(self) -> None:
        try:
            parts = parse_url(self.url)
        except HTTPError:
            parts = None
        sound = parts and parts.host and not (parts.auth or parts.query or parts.fragment)
        if parts is None or not sound or parts.scheme not in {"http", "https"}:
            raise BadAddress("FIXBILL_API_URL must read like https://billing.example.com")
        if not KEY.fullmatch(self.key):
            # HTTP would refuse a line break in it, and quote all of it.
            raise BadAddress("FIXBILL_API_KEY must be a word, as `fixbill keys create` printed it")

    def send(self, events: Sequence[Event], wait: float = 0) -> list[Answered]:
        """Send once; `wait` is how many seconds the API may take to settle before it answers."""
        try:
            status, kind, body, _ = self.ask(events, min(wait, WAIT_SECONDS_MAX))
        except HTTPError as error:
            why = f"{self.url} {silence_of(error)}"
            return [Undelivered(event, why) for event in events]
        return understood(events, status, kind, body) or [
            Undelivered(event, f"{self.url} answered {status}, {problem_of(kind, body)}")
            for event in events
        ]

    def ask(self, events: Sequence[Event], wait: float) -> Reply:
        """An API that was asked too often took nothing, and says when it will."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            reply = self.post(events, wait)
            if reply.again is None or time.monotonic() + reply.again > until:
                return reply
            time.sleep(reply.again)

    def post(self, events: Sequence[Event], wait: float) -> Reply:
        # An event is at most some 1,300 bytes, so a chunk stays below the 1 MiB at which many
        # proxies stop reading, and far below the API's 4 MiB.
        single = len(events) == 1
        response = self.pool.request(
            "POST",
            self.url.rstrip("/") + PATH,
            body=events[0].to_bytes() if single else array_of(events),
            headers=self.headers(single, wait),
            timeout=Timeout(connect=CONNECT_SECONDS, read=self.read_seconds + wait),
            retries=False,  # and no redirects: the key is for this address alone
            preload_content=False,
        )
        try:
            body = response.read(ANSWER_BYTES_MAX)
            again = response.headers.get("Retry-After", "")
            too_often = response.status == HTTPStatus.TOO_MANY_REQUESTS and again.isdigit()
            kind = response.headers.get("Content-Type", "")
            return Reply(response.status, kind, body, int(again) if too_often else None)
        finally:
            response.close()  # read to its end, it has given its connection back already

    def headers(self, single: bool, wait: float) -> dict[str, str]:
        kind = "cloudevents" if single else "cloudevents-batch"
        headers = {
            "Authorization": f"Bearer {self.key}",
            "Content-Type": f"application/{kind}+json",
            "Accept": "application/json",
            "User-Agent": "fixbill-publish",
        }
        return {**headers, "Prefer": f"wait={ceil(wait)}"} if wait > 0 else headers


def array_of(events: Sequence[Event]) -> bytes:
    return b"[" + b",".join(event.to_bytes() for event in events) + b"]"


def silence_of(error: HTTPError) -> str:
    """Why there is no answer, without the library's internals."""
    if isinstance(error, NewConnectionError):  # first: the library calls it a time-out too
        return "cannot be reached"
    if isinstance(error, (ConnectTimeoutError, ReadTimeoutError)):
        return "did not answer in time"
    return f"broke off ({type(error).__name__})"


def understood(
    events: Sequence[Event], status: int, kind: str, body: bytes
) -> list[Answered] | None:
    """The API's answers; None where this is no answer of the API's."""
    if status in {HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.MULTI_STATUS}:
        return receipts_in(events, status, body)
    if 400 <= status < 500 and status not in LATER and is_problem(kind):
        return [receipt(event, "refused", problem_of(kind, body)) for event in events]
    return None


def receipts_in(events: Sequence[Event], status: int, body: bytes) -> list[Answered] | None:
    """A receipt for each of these events, in order, or nothing at all."""
    try:
        if status == HTTPStatus.MULTI_STATUS:
            found = Results.model_validate_json(body).results
        else:
            found = [ReceiptOfApi.model_validate_json(body)]
    except ValidationError:
        return None
    if [each.event_id for each in found] != [event.id for event in events]:
        return None
    return list(found)


def is_problem(kind: str) -> bool:
    return kind.partition(";")[0].strip().lower() == "application/problem+json"


def problem_of(kind: str, body: bytes) -> str:
    """The API's own sentence; what else stands there may be a page of HTML."""
    if not is_problem(kind):
        return "which is not how Fixbill answers: is FIXBILL_API_URL right?"
    try:
        document: Any = parse_json(body)
        problem = ProblemOfApi.model_validate(document)
    except (BadEvent, ValidationError):
        return "without a reason that could be read"
    sentence = problem.detail or problem.title or "without a reason"
    return (f"{problem.field}: {sentence}" if problem.field else sentence)[:DETAIL_MAX]
