"""A valid event from the wrong sender bills nothing: who sends is told by key or by signature."""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from redis import Redis
from sqlalchemy import Engine
from structlog.testing import capture_logs

from producers.signing import Signer
from schemas.events import Event
from schemas.inbox import EVENT, KEY_ID, PARTITIONS, SIGNATURE, partition_of, stream_of
from tests.api.client import TRACK_FIX, Api, Headers, doors_to
from tests.builders import NOW, add_customer, deployed, outcomes, reverted, rows_of
from tests.refusals.mutations import MUTATIONS
from tests.stack import Databases, connected
from worker import inbox
from worker.clock import Clock
from worker.inbox import Inbox
from worker.keys import PATTERN
from worker.local.valkey import Valkey
from worker.producer_keys import create_producer_key
from worker.settler import Settler
from worker.storage import tables
from worker.storage.api_keys import revoke_key
from worker.storage.engine import API, WORKER
from worker.storage.producer_keys import revoke_producer_key

Fields = dict[bytes, bytes]
HOUR = timedelta(hours=1)
CUSTOMERS = ("acme", "globex")
MINE = partition_of("acme")
EVENT_OF_ACME = deployed()
BODY = EVENT_OF_ACME.to_bytes()


@dataclass
class World:
    """An API and an inbox that take nothing from strangers."""

    engine: Engine
    redis: Redis
    api: Api

    @property
    def clock(self) -> Clock:
        return self.api.doors.clock

    def producer(self, *scopes: str, customers: list[str] | None = None, ends: int = 1) -> Signer:
        """A key that may publish for acme unless more is said; `ends` in so many hours."""
        expires_at = self.clock.wall() + ends * HOUR
        wanted = scopes or ("publish",), customers or ["acme"], expires_at, None
        made = create_producer_key("a test", *wanted, self.engine, self.clock)
        return Signer.of(made.secret or "")

    def settle(self) -> None:
        settler = Settler(self.engine, self.redis, self.clock)
        with capture_logs() as logged:
            settler.turn(range(PARTITIONS), lambda: Inbox(self.redis).depth().entries == 0)
        assert [each for each in logged if each["event"] == "settling_interrupted"] == []

    def billed(self) -> dict[str, dict[str, str]]:
        return {each: found for each in CUSTOMERS if (found := outcomes(self.engine, each))}

    def aside(self) -> Counter[str]:
        return Counter(row["reason"] for row in rows_of(self.engine, tables.quarantine))


@pytest.fixture
def world(databases: Databases, valkey: Valkey) -> Iterator[World]:
    with (
        databases.fresh() as database,
        connected(database.worker_url, WORKER) as engine,
        connected(database.api_url, API) as api_engine,
        inbox.connect(valkey.url) as redis,
    ):
        redis.flushall()
        for each in CUSTOMERS:
            add_customer(engine, each)
        doors = doors_to(api_engine, redis, Clock(NOW - datetime.now(UTC)))
        yield World(engine, redis, Api(doors, engine, redis))


# Signatures.


@dataclass
class Keys:
    """One good key, and others."""

    good: Signer
    of_globex: Signer
    reverts: Signer
    revoked: Signer
    expired: Signer

    @classmethod
    def of(cls, world: World) -> Keys:
        revoked = world.producer()
        with world.engine.begin() as tx:
            revoke_producer_key(tx, revoked.key_id, world.clock.wall())
        return cls(
            good=world.producer(),
            of_globex=world.producer(customers=["globex"]),
            reverts=world.producer("revert"),
            revoked=revoked,
            expired=world.producer(ends=-1),
        )


def entry(signer: Signer, event: Event | bytes = BODY, partition: int = MINE) -> Fields:
    body = event.to_bytes() if isinstance(event, Event) else event
    return {EVENT: body, KEY_ID: signer.key_id.encode(), SIGNATURE: signer.sign(partition, body)}


def claiming(good: Fields, *, k: bytes | None = None, s: bytes | None = None) -> Fields:
    """The good entry with another key id or signature."""
    return good | ({KEY_ID: k} if k is not None else {}) | ({SIGNATURE: s} if s is not None else {})


def flipped(text: bytes, place: int) -> bytes:
    return text[:place] + bytes([text[place] ^ 1]) + text[place + 1 :]


def cut(fields: Fields, *names: bytes) -> Fields:
    return {name: value for name, value in fields.items() if name not in names}


class Forgery(NamedTuple):
    """An entry that was not signed by who may, and why it is refused."""

    reason: str
    of: Callable[[Keys], Fields]
    partition: int = MINE


OTHER = (MINE + 1) % PARTITIONS
STRANGER = Signer.generate("0123456789ab")
OF_GLOBEX = deployed("fix-1", "globex")
IN_GLOBEX = partition_of("globex")
BAD, UNKNOWN = "bad_signature", "unknown_key"


def by(keys: Keys) -> Fields:
    return entry(keys.good)


FORGERIES: dict[str, Forgery] = {
    "unsigned": Forgery("unsigned", lambda keys: cut(by(keys), KEY_ID, SIGNATURE)),
    "a key id alone": Forgery(BAD, lambda keys: cut(by(keys), SIGNATURE)),
    "a signature alone": Forgery(UNKNOWN, lambda keys: cut(by(keys), KEY_ID)),
    "an empty signature": Forgery(BAD, lambda keys: claiming(by(keys), s=b"")),
    "an empty key id": Forgery(UNKNOWN, lambda keys: claiming(by(keys), k=b"")),
    "zeros": Forgery(BAD, lambda keys: claiming(by(keys), s=bytes(64))),
    "cut off": Forgery(BAD, lambda keys: claiming(by(keys), s=by(keys)[SIGNATURE][:-1])),
    "a byte too long": Forgery(BAD, lambda keys: claiming(by(keys), s=by(keys)[SIGNATURE] + b"\0")),
    "its first bit flipped": Forgery(
        BAD, lambda keys: claiming(by(keys), s=flipped(by(keys)[SIGNATURE], 0))
    ),
    "its last bit flipped": Forgery(
        BAD, lambda keys: claiming(by(keys), s=flipped(by(keys)[SIGNATURE], 63))
    ),
    "in hexadecimal": Forgery(
        BAD, lambda keys: claiming(by(keys), s=by(keys)[SIGNATURE].hex().encode())
    ),
    "of the body alone": Forgery(
        BAD, lambda keys: claiming(by(keys), s=keys.good.private.sign(BODY))
    ),
    "of another event": Forgery(
        BAD, lambda keys: claiming(by(keys), s=entry(keys.good, deployed("fix-2"))[SIGNATURE])
    ),
    "of another partition": Forgery(
        BAD, lambda keys: claiming(by(keys), s=entry(keys.good, partition=OTHER)[SIGNATURE])
    ),
    "the public key for a signature": Forgery(
        BAD, lambda keys: claiming(by(keys), s=keys.good.public_key * 2)
    ),
    "a MAC with the public key": Forgery(
        BAD,
        lambda keys: claiming(by(keys), s=hmac.digest(keys.good.public_key, BODY, "sha512")),
    ),
    "another key's id": Forgery(
        BAD, lambda keys: claiming(by(keys), k=keys.of_globex.key_id.encode())
    ),
    "our id, a stranger's signature": Forgery(
        BAD, lambda keys: claiming(entry(STRANGER), k=keys.good.key_id.encode())
    ),
    "a stranger's key": Forgery(UNKNOWN, lambda _: entry(STRANGER)),
    "the id in capitals": Forgery(
        UNKNOWN, lambda keys: claiming(by(keys), k=b" " + keys.good.key_id.upper().encode())
    ),
    "an id with a NUL": Forgery(
        UNKNOWN, lambda keys: claiming(by(keys), k=keys.good.key_id.encode() + b"\0")
    ),
    "an id that is no text": Forgery(UNKNOWN, lambda keys: claiming(by(keys), k=b"\xff\xfe")),
    "an id of 60,000 characters": Forgery(
        UNKNOWN, lambda keys: claiming(by(keys), k=b"0" * 60_000)
    ),
    "a body with a space more": Forgery(BAD, lambda keys: by(keys) | {EVENT: BODY + b" "}),
    "a body with another fix": Forgery(
        BAD, lambda keys: by(keys) | {EVENT: deployed("fix-2", id="deployed-fix-1").to_bytes()}
    ),
    "a body with another event id": Forgery(
        BAD, lambda keys: by(keys) | {EVENT: deployed(id="again").to_bytes()}
    ),
    "a body that takes it back": Forgery(
        BAD, lambda keys: by(keys) | {EVENT: reverted().to_bytes()}
    ),
    "moved to another partition": Forgery("moved", by, OTHER),
    "signed for another partition and put there": Forgery(
        "moved", lambda keys: entry(keys.good, partition=OTHER), OTHER
    ),
    "a key that was revoked": Forgery("key_revoked", lambda keys: entry(keys.revoked)),
    "a key that has expired": Forgery("key_expired", lambda keys: entry(keys.expired)),
    "a key of another customer": Forgery("not_bound", lambda keys: entry(keys.of_globex)),
    "a customer the key is not for": Forgery(
        "not_bound", lambda keys: entry(keys.good, OF_GLOBEX, IN_GLOBEX), IN_GLOBEX
    ),
    "a key that may only take back": Forgery("lacks_scope", lambda keys: entry(keys.reverts)),
    "taken back with a key that may not": Forgery(
        "lacks_scope", lambda keys: entry(keys.good, reverted())
    ),
}


def append(world: World, partition: int, fields: Fields) -> None:
    found: Any = fields
    world.redis.xadd(stream_of(partition), found)


def test_of_a_signed_entry_and_all_forgeries_of_it_the_signed_one_is_billed_once(
    world: World,
) -> None:
    keys = Keys.of(world)
    expected = Counter(each.reason for each in FORGERIES.values())

    for each in FORGERIES.values():
        append(world, each.partition, each.of(keys))
    world.settle()
    before = world.billed(), world.aside()
    for _ in range(3):
        append(world, MINE, by(keys))
    for each in FORGERIES.values():
        append(world, each.partition, each.of(keys))
    world.settle()

    assert before == ({}, expected)
    assert world.billed() == {"acme": {"fix-1": "charged"}}
    assert world.aside() == expected + expected
    assert len(rows_of(world.engine, tables.transfers)) == 1


def test_no_mutation_of_an_event_is_billed_under_the_signature_of_the_event(world: World) -> None:
    signed = entry(world.producer(customers=list(CUSTOMERS)))

    for each in MUTATIONS.values():
        append(world, MINE, signed | {EVENT: each.of(EVENT_OF_ACME)})
    world.settle()

    forged = sum(each.reason != "unreadable" for each in MUTATIONS.values())
    assert world.billed() == {}
    assert world.aside() == Counter(unreadable=len(MUTATIONS) - forged, bad_signature=forged)


def test_who_reads_the_quarantine_of_a_customer_sees_nothing_that_nobody_proved_to_be_theirs(
    world: World,
) -> None:
    keys = Keys.of(world)

    for each in FORGERIES.values():
        append(world, each.partition, each.of(keys))
    world.settle()

    rows = rows_of(world.engine, tables.quarantine)
    assert {row["customer_id"] for row in rows} == {None}


# Keys of the API.


def authorization(key: str, scheme: str = "Bearer") -> Headers:
    return {"Authorization": f"{scheme} {key}"}


def revoked(api: Api) -> str:
    key = api.key("publish")
    found = PATTERN.fullmatch(key)
    assert found is not None
    with api.engine.begin() as tx:
        revoke_key(tx, found[1], api.doors.clock.wall())
    return key


SENDERS: dict[str, tuple[int, Callable[[Api], Headers]]] = {
    "no key": (401, lambda _: {}),
    "an empty key": (401, lambda _: authorization("")),
    "not a key": (401, lambda _: authorization("secret")),
    "an unknown key": (401, lambda _: authorization(f"fbk_0123456789ab_{'x' * 43}")),
    "another secret": (401, lambda api: authorization(api.key("publish")[:-2] + "--")),
    "the secret alone": (401, lambda api: authorization(api.key("publish")[17:])),
    "a producer's signing key": (401, lambda _: authorization(STRANGER.text())),
    "another scheme": (401, lambda api: authorization(api.key("publish"), "Basic")),
    "the key in another header": (401, lambda api: {"X-Api-Key": api.key("publish")}),
    "revoked": (401, lambda api: authorization(revoked(api))),
    "expired": (
        401,
        lambda api: authorization(
            api.key("publish", expires_at=api.doors.clock.wall() - timedelta(seconds=1))
        ),
    ),
    "of another customer": (
        403,
        lambda api: authorization(api.key("publish", customers=["globex"])),
    ),
    "that may only read": (403, lambda api: authorization(api.key("read"))),
    "that may only take back": (403, lambda api: authorization(api.key("revert"))),
}


def test_at_the_api_the_wrong_sender_bills_nothing_and_the_right_one_once(world: World) -> None:
    batches = world.api.behind()  # who guesses keys may do so less often than they are tried here
    answers, accepted = {}, []

    for name, (_, headers) in SENDERS.items():
        one = world.api.ask("POST", TRACK_FIX, headers(world.api), BODY)
        many = batches.ask("POST", TRACK_FIX, headers(batches), b"[%s]" % BODY)
        answers[name] = one.status_code
        accepted += [each for each in many.json().get("results", []) if each["status"] != "refused"]

    assert answers == {name: status for name, (status, _) in SENDERS.items()}
    assert accepted == []
    assert Inbox(world.redis).depth().entries == 0


def test_an_event_that_is_replayed_at_the_api_is_billed_once(world: World) -> None:
    key = world.api.key("publish", customers=["acme"])

    answers = [world.api.post(body, key=key) for body in [EVENT_OF_ACME, [EVENT_OF_ACME] * 50] * 2]
    world.api.settled()

    assert [each.status_code for each in answers] == [202, 207] * 2
    assert world.billed() == {"acme": {"fix-1": "charged"}}
    assert len(rows_of(world.engine, tables.transfers)) == 1
