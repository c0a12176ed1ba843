"""Who signed it: an entry bills only by a key that is known, good, bound and allowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine, update
from sqlalchemy import event as hooks

from producers.publish import Accepted, append_signed, publish
from producers.signing import Signer
from schemas.events import Event
from schemas.inbox import Entry, partition_of, signed_bytes
from tests.api.client import Api, doors_to
from tests.builders import (
    HOUR,
    MINUTE,
    NOW,
    UNSIGNED,
    add_customer,
    deployed,
    fixes_of,
    numbers,
    one_row,
    outcomes,
    reasons,
    reverted,
    rows_of,
)
from worker.billing.admission import ProducerKey
from worker.clock import Clock
from worker.inbox import Inbox, entry_of
from worker.producer_keys import create_producer_key
from worker.settle import replay, settle
from worker.settler import Settler, partitions_of
from worker.signatures import Trust
from worker.storage import tables
from worker.storage.producer_keys import (
    NOTE_USE_EVERY,
    add_producer_key,
    find_producer_keys,
    revoke_producer_key,
)

STRICT = Trust(NOW)
ALL = partitions_of(0, 1)


def key(engine: Engine, customers: list[str] | None = None, **changes: Any) -> Signer:
    """A producer's key that may do everything for acme, or what is said."""
    scopes = changes.pop("scopes", ["publish", "revert"])
    made = create_producer_key(
        "a pipeline", scopes, customers or ["acme"], None, None, engine, Clock()
    )
    assert made.secret is not None
    if changes:
        change(engine, made.key_id, **changes)
    return Signer.of(made.secret)


def change(engine: Engine, key_id: str, **values: Any) -> None:
    with engine.begin() as tx:
        named = tables.producer_keys.c.key_id == key_id
        tx.execute(update(tables.producer_keys).where(named).values(values))


def signed(event: Event | bytes, signer: Signer, customer_id: str = "acme", **more: Any) -> Entry:
    """As it lies in the inbox after its producer put it there."""
    body = event if isinstance(event, bytes) else event.to_bytes()
    partition = partition_of(customer_id)
    entry = Entry(
        key=f"{partition}/{int(NOW.timestamp() * 1000)}-{next(numbers)}",
        body=body,
        door="redis",
        accepted_at=NOW,
        key_id=signer.key_id,
        signature=signer.sign(partition, body),
    )
    return entry._replace(**more)


def take(engine: Engine, *entries: Entry, trust: Trust = STRICT) -> None:
    with engine.connect() as connection:
        settle(entries, connection, NOW, trust)


def aside(engine: Engine) -> dict[str, Any]:
    """The one entry that stands in quarantine."""
    return one_row(engine, tables.quarantine, replayed_at=None)


Forge = Callable[[Engine], Entry]


def good(engine: Engine) -> Entry:
    return signed(deployed(), key(engine))


def flipped(at: int) -> Forge:
    """One bit of the signature."""

    def forge(engine: Engine) -> Entry:
        entry = good(engine)
        signature = bytearray(entry.signature or b"")
        signature[at] ^= 1
        return entry._replace(signature=bytes(signature))

    return forge


def signed_as(body: Callable[[bytes], bytes], partition: int = partition_of("acme")) -> Forge:
    """A signature over something else than what is sent."""

    def forge(engine: Engine) -> Entry:
        signer = key(engine)
        entry = signed(deployed(), signer)
        return entry._replace(signature=signer.sign(partition, body(entry.body)))

    return forge


def raw(engine: Engine) -> Entry:
    """Signed without the prefix that says what the signature is for."""
    signer = key(engine)
    entry = signed(deployed(), signer)
    return entry._replace(signature=signer.private.sign(entry.body))


def under_another_name(engine: Engine) -> Entry:
    mine, other = key(engine), key(engine)
    return signed(deployed(), mine, key_id=other.key_id)


def changed_body(engine: Engine) -> Entry:
    entry = good(engine)
    return entry._replace(body=entry.body.replace(b"0123abcd", b"0123abce"))


def for_another_customer(engine: Engine) -> Entry:
    add_customer(engine, "globex")
    return signed(deployed(customer_id="globex"), key(engine), "globex")


def moved(engine: Engine) -> Entry:
    entry = good(engine)
    elsewhere = (partition_of("acme") + 1) % 16
    return entry._replace(key=f"{elsewhere}/{entry.key.partition('/')[2]}")


def moved_and_signed_for_it(engine: Engine) -> Entry:
    signer, elsewhere = key(engine), (partition_of("acme") + 1) % 16
    entry = moved(engine)
    return entry._replace(key_id=signer.key_id, signature=signer.sign(elsewhere, entry.body))


REFUSED: dict[str, tuple[str, Forge]] = {
    "a key id alone": ("bad_signature", lambda e: good(e)._replace(signature=None)),
    "a signature alone": ("unknown_key", lambda e: good(e)._replace(key_id=None)),
    "no key of ours": ("unknown_key", lambda _: signed(deployed(), Signer.generate("0" * 12))),
    "an empty key id": ("unknown_key", lambda e: good(e)._replace(key_id="")),
    "a key id with an end of line": (
        "unknown_key",
        lambda e: (each := good(e))._replace(key_id=f"{each.key_id}\n"),
    ),
    "a key id in capitals": ("unknown_key", lambda e: good(e)._replace(key_id="ABCDEF012345")),
    "the first bit flipped": ("bad_signature", flipped(0)),
    "a bit in the middle flipped": ("bad_signature", flipped(31)),
    "the last bit flipped": ("bad_signature", flipped(63)),
    "an empty signature": ("bad_signature", lambda e: good(e)._replace(signature=b"")),
    "zeros": ("bad_signature", lambda e: good(e)._replace(signature=bytes(64))),
    "a signature that is too long": (
        "bad_signature",
        lambda e: (each := good(e))._replace(signature=(each.signature or b"") + b"\0"),
    ),
    "a signature cut short": (
        "bad_signature",
        lambda e: (each := good(e))._replace(signature=(each.signature or b"")[:-1]),
    ),
    "another body": ("bad_signature", changed_body),
    "the same with a space more": (
        "bad_signature",
        lambda e: (each := good(e))._replace(body=each.body + b" "),
    ),
    "signed without the prefix": ("bad_signature", raw),
    "signed for another partition": ("bad_signature", signed_as(bytes, partition_of("acme") + 1)),
    "signed in part": ("bad_signature", signed_as(lambda body: body[:-1])),
    "signed by another key": ("bad_signature", under_another_name),
    "a revoked key": ("key_revoked", lambda e: signed(deployed(), key(e, revoked_at=NOW))),
    "a key revoked in the future": (
        "key_revoked",
        lambda e: signed(deployed(), key(e, revoked_at=NOW + HOUR)),
    ),
    "an expired key": ("key_expired", lambda e: signed(deployed(), key(e, expires_at=NOW - HOUR))),
    "a key that expires now": (
        "key_expired",
        lambda e: signed(deployed(), key(e, expires_at=NOW)),
    ),
    "an expired key, dated back": (
        "key_expired",
        lambda e: signed(deployed(), key(e, expires_at=NOW - HOUR), accepted_at=NOW - 2 * HOUR),
    ),
    "a key of other customers": ("not_bound", for_another_customer),
    "a key bound to nobody": (
        "not_bound",
        lambda e: signed(deployed(), key(e, customer_ids=[])),
    ),
    "a revert with a key to publish": (
        "lacks_scope",
        lambda e: signed(reverted(), key(e, scopes=["publish"])),
    ),
    "a fix with a key to revert": (
        "lacks_scope",
        lambda e: signed(deployed(), key(e, scopes=["revert"])),
    ),
    "an entry that was moved": ("moved", moved),
    "an entry signed where it does not belong": ("moved", moved_and_signed_for_it),
}


@pytest.mark.parametrize("trust", [STRICT, UNSIGNED], ids=["strict", "TRUST_REDIS"])
@pytest.mark.parametrize("what", REFUSED)
def test_a_signature_that_does_not_hold_bills_nothing(
    engine: Engine, what: str, trust: Trust
) -> None:
    add_customer(engine)
    reason, forge = REFUSED[what]
    entry = forge(engine)

    take(engine, entry, trust=trust)

    row = aside(engine)
    assert (row["reason"], row["body"]) == (reason, entry.body)
    assert (row["key_id"], row["signature"]) == (entry.key_id, entry.signature)
    assert row["customer_id"] is None  # nobody has proven whose it is: no customer may see it
    assert rows_of(engine, tables.fixes) == rows_of(engine, tables.transfers) == []
    assert rows_of(engine, tables.waiting_fixes) == []
    assert all(each["last_used_at"] is None for each in rows_of(engine, tables.producer_keys))


def test_each_reason_says_what_to_do(engine: Engine) -> None:
    add_customer(engine)
    for _, forge in REFUSED.values():
        take(engine, forge(engine) if forge is not for_another_customer else good(engine))
    take(engine, signed(deployed("plain"), key(engine), key_id=None, signature=None))

    details = {row["reason"]: row["detail"] for row in rows_of(engine, tables.quarantine)}

    assert "FIXBILL_SIGNING_KEY" in details["unsigned"]
    assert "fixbill keys producer create" in details["unknown_key"]
    assert "partition" in details["moved"]
    assert "scope" in details["lacks_scope"]


def test_what_is_signed_is_billed_and_tells_by_which_key(engine: Engine) -> None:
    add_customer(engine)
    signer = key(engine)

    take(engine, signed(deployed(), signer))

    assert outcomes(engine) == {"fix-1": "charged"}
    assert one_row(engine, tables.events)["key_id"] == signer.key_id
    assert reasons(engine) == []


def test_a_key_that_is_bound_to_nobody_in_particular_serves_all(engine: Engine) -> None:
    for customer_id in ("acme", "globex"):
        add_customer(engine, customer_id)
    signer = key(engine, customer_ids=None)

    take(engine, *(signed(deployed(customer_id=c), signer, c) for c in ("acme", "globex")))

    assert outcomes(engine) | outcomes(engine, "globex") == {"fix-1": "charged"}
    assert reasons(engine) == []


@pytest.mark.parametrize(("trust", "billed"), [(STRICT, False), (UNSIGNED, True)])
def test_what_nobody_signed_is_taken_only_where_the_store_is_trusted(
    engine: Engine, trust: Trust, billed: bool
) -> None:
    add_customer(engine)
    plain = signed(deployed(), Signer.generate("0" * 12), key_id=None, signature=None)

    take(engine, plain, trust=trust)

    assert bool(outcomes(engine)) is billed
    assert reasons(engine) == ([] if billed else ["unsigned"])


def test_one_bad_entry_does_not_hold_up_its_neighbours(engine: Engine) -> None:
    add_customer(engine)
    signer = key(engine)
    batch = [signed(each, signer) for each in fixes_of("acme", 5)]
    batch[2] = batch[2]._replace(signature=bytes(64))

    take(engine, *batch)

    assert len(outcomes(engine)) == 4
    assert reasons(engine) == ["bad_signature"]


def test_the_keys_of_a_batch_are_read_in_one_statement(engine: Engine) -> None:
    add_customer(engine)
    signers = [key(engine) for _ in range(4)]
    batch = [signed(each, signers[index % 4]) for index, each in enumerate(fixes_of("acme", 40))]
    asked: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        if statement.startswith("SELECT") and "producer_keys" in statement:
            asked.append(statement)

    hooks.listen(engine, "before_cursor_execute", note)
    take(engine, *batch)
    hooks.remove(engine, "before_cursor_execute", note)

    assert len(asked) == 1
    assert len(outcomes(engine)) == 40


def test_its_use_is_noted_at_most_once_a_minute(engine: Engine) -> None:
    add_customer(engine)
    signer = key(engine)
    seen = []

    for number, wall in enumerate((NOW, NOW + MINUTE / 2, NOW + NOTE_USE_EVERY + MINUTE)):
        take(engine, signed(deployed(f"fix-{number}"), signer), trust=Trust(wall))
        seen.append(one_row(engine, tables.producer_keys)["last_used_at"])

    assert seen == [NOW, NOW, NOW + NOTE_USE_EVERY + MINUTE]


def test_a_key_whose_row_another_holds_is_no_reason_to_wait(engine: Engine) -> None:
    add_customer(engine)
    signer = key(engine)
    with engine.begin() as other:
        revoke_producer_key(other, signer.key_id, NOW)
        take(engine, signed(deployed(), signer))
        other.rollback()

    assert outcomes(engine) == {"fix-1": "charged"}


def test_the_rule_holds_for_what_is_read_before_a_revocation_is_committed(engine: Engine) -> None:
    add_customer(engine)
    signer = key(engine)
    take(engine, signed(deployed("before"), signer))
    with engine.begin() as tx:
        assert revoke_producer_key(tx, signer.key_id, NOW)
        assert not revoke_producer_key(tx, signer.key_id, NOW)

    take(engine, signed(deployed("after"), signer))

    assert outcomes(engine) == {"before": "charged"}
    assert reasons(engine) == ["key_revoked"]


# A replay from quarantine.


def test_a_replay_checks_the_signature_again(engine: Engine) -> None:
    add_customer(engine)
    signer = key(engine)
    change(engine, signer.key_id, customer_ids=["globex"])
    take(engine, signed(deployed(), signer))

    still = replay(aside(engine)["quarantine_id"], engine, NOW, STRICT)
    change(engine, signer.key_id, customer_ids=["acme"])
    then = replay(aside(engine)["quarantine_id"], engine, NOW, STRICT)

    assert (still, then) == ("quarantined", "charged")
    assert one_row(engine, tables.events)["key_id"] == signer.key_id


def test_what_came_before_its_key_was_registered_replays(engine: Engine) -> None:
    add_customer(engine)
    early = Signer.generate("0" * 12)
    take(engine, signed(deployed(), early))
    assert reasons(engine) == ["unknown_key"]
    with engine.begin() as tx:
        scopes = ["publish"]
        add_producer_key(tx, ProducerKey(early.key_id, early.public_key, "late", scopes, None, NOW))

    assert replay(aside(engine)["quarantine_id"], engine, NOW, STRICT) == "charged"


@pytest.mark.parametrize("what", ["a revoked key", "an expired key", "a key id alone"])
def test_an_operator_can_vouch_for_an_entry(engine: Engine, what: str) -> None:
    add_customer(engine)
    take(engine, REFUSED[what][1](engine))

    refused = replay(aside(engine)["quarantine_id"], engine, NOW, UNSIGNED)
    vouched = replay(aside(engine)["quarantine_id"], engine, NOW, None)

    assert (refused, vouched) == ("quarantined", "charged")


# From the doors to the ledger.


@pytest.fixture
def settler(engine: Engine, redis: Redis, clock: Clock) -> Settler:
    """Takes nothing that is not signed."""
    return Settler(engine, redis, clock)


def work(settler: Settler) -> None:
    box = Inbox(settler.redis)
    assert settler.turn(ALL, lambda: box.depth().entries == 0)


def test_what_a_pipeline_publishes_with_its_key_is_billed(
    engine: Engine, redis: Redis, settler: Settler
) -> None:
    add_customer(engine)
    events = fixes_of("acme", 3)

    published = publish(events, redis=redis, signer=key(engine))
    publish([deployed("unsigned")], redis=redis)
    work(settler)

    assert published == [Accepted(each) for each in events]
    assert set(outcomes(engine)) == {each.fix_id for each in events}
    assert reasons(engine) == ["unsigned"]


def test_the_http_door_signs_with_a_key_of_its_own(
    engine: Engine, api_engine: Engine, redis: Redis, clock: Clock, settler: Settler
) -> None:
    add_customer(engine)
    signer = key(engine)
    api = Api(doors_to(api_engine, redis, clock), engine, redis)

    answers = [api.behind(signer=signer).post(deployed()), api.post(deployed("unsigned"))]
    work(settler)

    assert [each.status_code for each in answers] == [202, 202]
    assert outcomes(engine) == {"fix-1": "charged"}
    assert reasons(engine) == ["unsigned"]
    recorded = one_row(engine, tables.events)
    assert (recorded["door"], recorded["key_id"]) == ("http", signer.key_id)


def test_what_waited_for_its_customer_was_checked_when_it_came(engine: Engine) -> None:
    signer = key(engine)
    take(engine, signed(deployed(), signer))
    assert one_row(engine, tables.waiting_fixes)["key_id"] == signer.key_id
    change(engine, signer.key_id, revoked_at=NOW)
    add_customer(engine)
    other = key(engine)

    take(engine, signed(deployed("fix-2"), other))

    assert outcomes(engine) == {"fix-1": "charged", "fix-2": "charged"}
    recorded = {row["fix_id"]: row["key_id"] for row in rows_of(engine, tables.events)}
    assert recorded["fix-1"] == signer.key_id


@pytest.mark.parametrize(
    ("key_id", "read"),
    [
        (b"0123456789ab", "0123456789ab"),
        (b"", ""),
        (b"\x00\xff\n\x1b", "????"),
        (b"x" * 100_000, "x" * 200),
        ("é".encode(), "??"),
    ],
)
def test_whatever_stands_for_a_key_id_is_read_as_short_plain_text(key_id: bytes, read: str) -> None:
    entry = entry_of(3, b"1-0", {b"e": b"{}", b"k": key_id, b"s": b"\xff"})

    assert (entry.key_id, entry.signature, entry.partition) == (read, b"\xff", 3)


def test_hostile_key_ids_and_signatures_reach_the_quarantine_and_stop_nobody(
    engine: Engine, redis: Redis, settler: Settler
) -> None:
    add_customer(engine)
    mine = partition_of("acme")
    for proof in ((b"\0\xff", b"\0"), (b"", b""), (b"k" * 9999, b"s" * 9999)):
        append_signed(redis, mine, deployed().to_bytes(), None, "redis", proof)
    publish([deployed()], redis=redis, signer=key(engine))

    work(settler)

    assert outcomes(engine) == {"fix-1": "charged"}
    assert reasons(engine) == ["unknown_key"] * 3


# Keys as text.


def test_a_signing_key_reads_back_as_it_was_printed() -> None:
    signer = Signer.generate("0123456789ab")

    again = Signer.of(signer.text())

    assert again.text() == signer.text()
    assert again.public_key == signer.public_key
    assert again.sign(3, b"body") == signer.private.sign(signed_bytes(3, b"body"))
    assert signer.text() not in repr(again)


@pytest.mark.parametrize(
    "text", ["", "fbs_0123456789ab_", "fbk_0123456789ab_" + "A" * 43, "fbs_x_" + "A" * 43]
)
def test_what_is_no_signing_key_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(ValueError, match="a signing key reads like") as refused:
        Signer.of(text)

    assert not text or text not in str(refused.value)


def test_only_public_halves_are_kept(engine: Engine) -> None:
    signer = key(engine)
    seed = signer.private.private_bytes_raw()

    with engine.begin() as tx:
        kept = find_producer_keys(tx, [signer.key_id])[signer.key_id]

    assert kept.public_key == signer.public_key
    assert seed not in kept
