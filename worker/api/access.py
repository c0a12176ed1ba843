"""Who is asking, and whose rows they may see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from http import HTTPStatus
from typing import Annotated, NamedTuple, cast

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes
from redis import Redis
from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine.interfaces import IsolationLevel

from producers.signing import Signer
from schemas.problems import UNKNOWN_CUSTOMER
from worker.api.limits import Limits, address_of, limits_of
from worker.api.problems import Refusal
from worker.clock import Clock
from worker.inbox import Inbox
from worker.keys import PATTERN, check_key
from worker.links import Links
from worker.storage.api_keys import ApiKey
from worker.storage.engine import OPS, snapshot
from worker.storage.prepared import Prepared
from worker.stripe_gateway import StripeGateway
from worker.usage.freshness import fresh_until, watermark

bearer = HTTPBearer(auto_error=False, description="An API key: fbk_…")


@dataclass(frozen=True)
class Doors:
    """What the API works with."""

    engine: Engine
    redis: Redis
    clock: Clock
    webhook_secrets: Sequence[str]  # several while one is being rotated
    stripe: StripeGateway
    links: Links | None  # None: the settings name no address for customers
    limits: Limits = field(default_factory=limits_of)
    signer: Signer | None = None  # of what this process puts into the inbox

    @cached_property
    def keys(self) -> Engine:
        """To look a key up is one statement: a transaction would be two round trips more."""
        return self.engine.execution_options(isolation_level="AUTOCOMMIT")


async def doors_of(request: Request) -> Doors:  # async, or it would take a thread
    return cast(Doors, request.app.state.doors)


Opened = Annotated[Doors, Depends(doors_of)]


def good_key(presented: str, request: Request, doors: Doors) -> ApiKey | None:
    """The key that was presented, if it is good; 429 for an address that guesses."""
    if not PATTERN.fullmatch(presented):
        return None
    address = address_of(request.client.host if request.client else None)
    doors.limits.refuse_guess(presented, address)
    key = check_key(presented, doors.keys, doors.clock)
    if key is None:
        doors.limits.note_guess(presented, address)
    else:
        doors.limits.note_good(presented)
    return key


def caller(
    request: Request,
    needed: SecurityScopes,
    doors: Opened,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> ApiKey:
    """The key that signs this request; 401 without a good one, 403 without a scope it needs."""
    key = good_key(credentials.credentials, request, doors) if credentials else None
    if key is None:
        raise Refusal(HTTPStatus.UNAUTHORIZED, "Send a valid API key: Authorization: Bearer fbk_…")
    if PUBLISH in needed.scopes:
        doors.limits.publish(key, 1)
    else:
        doors.limits.ask(key)
    if not any(may(key, scope) for scope in needed.scopes):
        scopes = " or ".join(needed.scopes)
        raise Refusal(
            HTTPStatus.FORBIDDEN, f"This key may not do that; it needs the scope {scopes}."
        )
    return key


# The description of the API tells the scopes too; one of several is enough, and admin always is.
PUBLISH = "publish"
Caller = Annotated[ApiKey, Security(caller, scopes=["read"])]
Publisher = Annotated[ApiKey, Security(caller, scopes=[PUBLISH, "revert"])]
Admin = Annotated[ApiKey, Security(caller, scopes=["admin"])]


def links_of(doors: Opened) -> Links:
    """What makes links for customers; 503 where they could not be reached."""
    if doors.links is None:
        raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "Set PUBLIC_URL and LINK_SECRET for this.")
    return doors.links


CustomerLinks = Annotated[Links, Depends(links_of)]


def may(key: ApiKey, scope: str) -> bool:
    return scope in key.scopes or "admin" in key.scopes


def serves(key: ApiKey, customer_id: str) -> bool:
    return key.customer_ids is None or customer_id in key.customer_ids


def need_customer(key: ApiKey, customer_id: str) -> None:
    """A customer of others is as unknown as one that does not exist."""
    if not serves(key, customer_id):
        raise not_found(customer_id)


class Reading(NamedTuple):
    """One snapshot of one customer's rows."""

    tx: Connection
    as_of: datetime  # everything accepted before it is in the snapshot


@contextmanager
def reading(customer_id: str, doors: Doors, key: ApiKey) -> Iterator[Reading]:
    """What a key sees of this customer; 404 for one it is not bound to, as for one unknown."""
    need_customer(key, customer_id)
    with snapshot_of(customer_id, doors) as found:
        yield found


@contextmanager
def snapshot_of(customer_id: str, doors: Doors) -> Iterator[Reading]:
    """This customer's rows, and how fresh they are, which is asked of the inbox before."""
    settled_until = watermark(Inbox(doors.redis), customer_id)
    with rows_of(customer_id, doors.engine) as tx:
        as_of = fresh_until(tx, customer_id, settled_until)
        if as_of is None:
            raise not_found(customer_id)
        yield Reading(tx, as_of)


def not_found(customer_id: str) -> Refusal:
    sentence = f"There is no customer {customer_id}."
    return Refusal(HTTPStatus.NOT_FOUND, sentence, kind=UNKNOWN_CUSTOMER)


@contextmanager
def rows_of_all(engine: Engine) -> Iterator[Connection]:
    """One snapshot over all customers, read-only: for operators alone."""
    with snapshot(engine) as tx:
        tx.execute(text(f"SET LOCAL ROLE {OPS}"))
        yield tx


NAMED = Prepared(text("SELECT set_config('fixbill.customer_id', :customer_id, true)"))


@contextmanager
def rows_of(
    customer_id: str, engine: Engine, isolation: IsolationLevel = "REPEATABLE READ"
) -> Iterator[Connection]:
    """One snapshot in which row-level security shows this customer's rows and no others."""
    begun = engine.connect().execution_options(isolation_level=isolation)
    with begun as connection, connection.begin():
        NAMED.rows(connection, customer_id=customer_id)
        yield connection
