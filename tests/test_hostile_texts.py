"""Whatever text comes in, wherever: nothing fails, nothing is billed that should not be.

A text is legal for an input or it is not; which, is said here once more, independently of the
product. What is legal is taken literally. What is not is refused or quarantined, with its bytes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from re import fullmatch
from typing import Any
from urllib.parse import quote

import pytest
from redis import Redis
from sqlalchemy import Engine, func, inspect, select
from structlog.testing import capture_logs
from structlog.typing import EventDict

from producers.github import event_from_github
from schemas.events import BadEvent
from schemas.inbox import EVENT_BYTES_MAX, stream_of
from tests.api.client import Api, as_text, doors_to, settle_inbox
from tests.builders import MINUTE, NOW, add_customer, deployed, rows_of
from tests.cli.running import Cli, hidden_in, nothing_set
from tests.hostile_texts import TEXTS
from tests.sandbox.sandbox_process import RunningSandbox
from tests.stack import Database, Databases, connected
from worker import inbox
from worker.clock import Clock
from worker.local.valkey import Valkey
from worker.storage import tables
from worker.storage.engine import API, WORKER
from worker.usage.verify import verify

PAYLOAD = Path(__file__).parents[1] / "docs/examples/github/merged-storefront-lodash.json"
URL_MAX = 60_000  # more is not sent by our client

ID = r"[A-Za-z0-9._:-]{1,128}"
NOTHING = r"(?!)"
ANYTHING = r"(?s:.*)"
LEGAL = {
    "specversion": NOTHING,
    "id": ID,
    "source": r"[A-Za-z0-9._:/@~+-]{1,256}",
    "type": NOTHING,
    "time": NOTHING,
    "subject": NOTHING,
    "datacontenttype": NOTHING,
    "traceparent": NOTHING,
    "an_attribute_of_others": ANYTHING,
    "data": NOTHING,
    "data.customer_id": ID,
    "data.fix_id": ID,
    "data.repository": r"[A-Za-z0-9._/-]{1,200}",
    "data.commit_sha": r"[0-9A-Fa-f]{7,64}",
    "data.pull_request": NOTHING,
    "data.finding": ID,
    "data.price": NOTHING,
}


@dataclass
class World:
    """A product that all tests of this file throw texts at; each has a customer of its own."""

    database: Database
    engine: Engine
    redis: Redis
    api: Api

    def counts(self) -> dict[str, int]:
        """Rows by table; every table has to be there."""
        with self.engine.begin() as tx:
            names = set(inspect(tx).get_table_names())
            assert names == {*tables.metadata.tables, "alembic_version"}
            return {
                name: tx.scalar(select(func.count()).select_from(table)) or 0
                for name, table in tables.metadata.tables.items()
            }

    def append(self, entries: Iterable[dict[bytes, bytes]]) -> None:
        """As anyone can who reaches the store."""
        with self.redis.pipeline(transaction=False) as pipeline:
            for fields in entries:
                found: Any = fields
                pipeline.xadd(stream_of(0), found)
            pipeline.execute()

    def settle(self) -> None:
        """A settler that does not get through has been stopped by one of the texts."""
        with capture_logs() as logged:
            settle_inbox(self.engine, self.redis, self.api.doors.clock)
        assert inbox.Inbox(self.redis).depth().entries == 0
        assert [each for each in logged if each["event"] == "settling_interrupted"] == []


@pytest.fixture(scope="module")
def world(databases: Databases, valkey: Valkey) -> Iterator[World]:
    clock = Clock(NOW - datetime.now(UTC))
    with (
        databases.fresh() as database,
        connected(database.worker_url, WORKER) as engine,
        connected(database.api_url, API) as api_engine,
        inbox.connect(valkey.url) as redis,
    ):
        redis.flushall()
        doors = doors_to(api_engine, redis, clock)
        yield World(database, engine, redis, Api(doors, engine, redis))
        assert [check for check in verify(engine, None) if not check.ok] == []


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[EventDict]]:
    with capture_logs() as entries:
        yield entries


# Events: in the inbox, over HTTP.


@dataclass(frozen=True)
class Sent:
    """An event with a text in one of its fields."""

    body: bytes
    text: str
    legal: bool  # once it can be read at all


def events_with(field: str, customer_id: str) -> list[dict[str, Any]]:
    """One sound event for each text, then the text put into its field."""
    documents = []
    for number, text in enumerate(TEXTS.values()):
        one = deployed(f"fix-{number}", customer_id, id=f"event-{number}")
        document = json.loads(one.to_bytes())
        place, _, name = field.rpartition(".")
        (document[place] if place else document)[name] = text
        if field == "data.fix_id":
            document["subject"] = text
        documents.append(document)
    return documents


def sendings(field: str, customer_id: str) -> list[Sent]:
    """Each event twice: in plain ASCII with escapes, and in bytes as they are."""
    found = []
    for text, document in zip(TEXTS.values(), events_with(field, customer_id), strict=True):
        escaped = json.dumps(document).encode()
        raw = as_text(json.dumps(document, ensure_ascii=False))
        legal = fullmatch(LEGAL[field], text) is not None
        found += [Sent(body, text, legal and is_readable(body)) for body in {escaped, raw}]
    return found


def is_readable(body: bytes) -> bool:
    return is_text(body) and len(body) <= EVENT_BYTES_MAX


def is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def changes(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: after[name] - count for name, count in before.items() if after[name] != count}


def settled_literally(world: World, field: str, customer_id: str, legal: set[str]) -> None:
    """Each legal text stands where it belongs, as it was written, and was billed once."""
    fixes = rows_of(world.engine, tables.fixes, customer_id=customer_id)
    column = {"id": "event_id"}.get(field, field.removeprefix("data."))
    transfers = rows_of(world.engine, tables.transfers, customer_id=customer_id)
    assert len(fixes) == len(transfers) == len(legal)
    if fixes and column in fixes[0]:
        assert {row[column] for row in fixes} == legal


@pytest.mark.parametrize("field", LEGAL)
def test_a_text_in_an_event_of_the_inbox(world: World, field: str) -> None:
    customer_id = add_customer(world.engine, f"queue-{field}")
    sent = sendings(field, customer_id)
    before = world.counts()

    world.append({b"e": each.body} for each in sent)
    world.settle()

    changed = changes(before, world.counts())
    legal = {each.text for each in sent if each.legal}
    refused = [each.body for each in sent if not each.legal]
    assert changed.get("quarantine", 0) == len(refused)
    stored = {row["body"] for row in rows_of(world.engine, tables.quarantine)}
    assert set(refused) <= stored
    if field == "data.customer_id":
        strangers = {row["customer_id"] for row in rows_of(world.engine, tables.waiting_fixes)}
        assert legal <= strangers
        legal = set()
    settled_literally(world, field, customer_id, legal)


@pytest.mark.parametrize("field", LEGAL)
def test_a_text_in_an_event_over_http(world: World, field: str) -> None:
    customer_id = add_customer(world.engine, f"http-{field}")
    documents = events_with(field, customer_id)
    before = world.counts()

    batch = world.api.post([json.dumps(each).encode() for each in documents])
    world.settle()

    assert batch.status_code == 207
    statuses = [each["status"] for each in batch.json()["results"]]
    expected = [fullmatch(LEGAL[field], text) is not None for text in TEXTS.values()]
    assert [each == "accepted" for each in statuses] == expected
    assert not [each for each in batch.json()["results"] if hidden_in(each.get("detail", ""))]
    legal = {text for text, good in zip(TEXTS.values(), expected, strict=True) if good}
    changed = changes(before, world.counts())
    assert "quarantine" not in changed
    if field == "data.customer_id":
        assert changed.get("fixes", 0) == 0
        legal = set()
    settled_literally(world, field, customer_id, legal)


def test_a_text_in_a_single_event_over_http_is_taken_or_refused_by_the_name_of_its_field(
    world: World,
) -> None:
    customer_id = add_customer(world.engine, "single")
    sent = sendings("data.fix_id", customer_id)

    answers = [world.api.post(each.body) for each in sent]
    world.settle()

    wrong = [
        each.text
        for each, answer in zip(sent, answers, strict=True)
        if answer.status_code != status_for(each)
    ]
    refused = [answer.json() for answer in answers if answer.status_code == 422]
    assert wrong == []
    assert {each.get("field") for each in refused} == {"subject", None}
    assert [each for each in refused if hidden_in(each["detail"])] == []
    legal = {each.text for each in sent if each.legal}
    settled_literally(world, "data.fix_id", customer_id, legal)


def status_for(sent: Sent) -> int:
    if len(sent.body) > EVENT_BYTES_MAX:
        return 413
    return 202 if sent.legal else 422


# What stands beside an event in an entry.


@pytest.mark.parametrize("name", [b"k", b"s"], ids=bytes.decode)
def test_a_text_for_a_key_or_a_signature_of_an_entry(world: World, name: bytes) -> None:
    customer_id = add_customer(world.engine, f"signed-{name.hex()}")
    before = world.counts()

    world.append(
        {b"e": deployed(f"fix-{number}", customer_id).to_bytes(), name: as_text(text)}
        for number, text in enumerate(TEXTS.values())
    )
    world.settle()

    assert changes(before, world.counts()) == {"quarantine": len(TEXTS)}
    assert rows_of(world.engine, tables.events, customer_id=customer_id) == []


@pytest.mark.parametrize("name", [b"d", b"t", b"field of others"], ids=bytes.decode)
def test_a_text_in_a_field_of_an_entry(world: World, name: bytes) -> None:
    customer_id = add_customer(world.engine, f"entry-{name.hex()}")

    world.append(
        {b"e": deployed(f"fix-{number}", customer_id).to_bytes(), name: as_text(text)}
        for number, text in enumerate(TEXTS.values())
    )
    world.settle()

    events = rows_of(world.engine, tables.events, customer_id=customer_id)
    assert len(events) == len(TEXTS)
    assert [row for row in events if not fullmatch("[a-zA-Z]{1,16}", row["door"])] == []
    assert {row["traceparent"] for row in events} == {None}
    assert len(rows_of(world.engine, tables.transfers, customer_id=customer_id)) == len(TEXTS)


def test_a_text_that_is_an_entry_of_its_own(world: World) -> None:
    before = world.counts()

    world.append({b"e": as_text(text)} for text in TEXTS.values())
    world.append({as_text(text): b"no event"} for text in TEXTS.values())
    world.settle()

    assert changes(before, world.counts()) == {"quarantine": 2 * len(TEXTS)}
    stored = {row["body"] for row in rows_of(world.engine, tables.quarantine)}
    assert {as_text(text) for text in TEXTS.values() if text} <= stored


NO_TIMES = {1: "0-1", 2: "253402300800000-0", 3: f"{2**63}-0", 4: f"{2**64 - 1}-7"}


@pytest.mark.parametrize("partition", NO_TIMES)
def test_an_entry_whose_id_is_no_time_that_can_be_stops_nobody(
    world: World, partition: int
) -> None:
    customer_id = add_customer(world.engine, f"time-{partition}")
    stream = stream_of(partition)
    first, second = (deployed(f"fix-{number}", customer_id).to_bytes() for number in range(2))

    world.redis.delete(stream)
    try:
        world.redis.xadd(stream, {"e": first}, id=NO_TIMES[partition])
        world.redis.xadd(stream, {"e": second})
        world.settle()
        usage = world.api.usage(customer_id)
    finally:
        world.redis.delete(stream)

    assert len(rows_of(world.engine, tables.fixes, customer_id=customer_id)) == 2
    assert usage.status_code == 200


# Paths and headers.


LONG = {name for name, text in TEXTS.items() if len(as_text(text)) > 2000}


def without_long(answers: dict[str, int]) -> list[int]:
    """The others' statuses; what is too long for any header is refused as that."""
    assert {answers[name] for name in LONG} == {431}
    return [status for name, status in answers.items() if name not in LONG]


def test_a_text_as_a_customer_in_a_path(world: World) -> None:
    before = world.counts()

    answers = {
        name: world.api.ask(
            "GET",
            f"/api/v1/customers/{quote(as_text(text), safe='')[:URL_MAX]}/usage",
            world.api.signed(),
        )
        for name, text in TEXTS.items()
    }

    assert {
        name
        for name, each in answers.items()
        if each.status_code not in ({431} if name in LONG else {404, 422})
    } == set()
    kinds = {each.headers["Content-Type"] for each in answers.values()}
    assert kinds == {"application/problem+json"}
    assert [each.text for each in answers.values() if hidden_in(each.json()["detail"])] == []
    assert changes(before, world.counts()) == {}


@pytest.mark.parametrize("form", ["{}", "Bearer {}", "Bearer fbk_0123456789ab_{}"])
def test_a_text_as_a_key(world: World, form: str) -> None:
    before = world.counts()

    answers = {
        name: world.api.ask(
            "GET", "/api/v1/customers/acme/usage", {"Authorization": as_text(form.format(text))}
        ).status_code
        for name, text in TEXTS.items()
    }

    assert set(without_long(answers)) == {401}
    assert changes(before, world.counts()) == {}


HEADERS = ["prefer", "traceparent", "tracestate", "baggage", "content-type", "x-request-id"]


def test_a_text_in_headers_that_may_be_ignored(world: World) -> None:
    customer_id = add_customer(world.engine, "headers")

    answers = {
        name: world.api.post(
            deployed(f"fix-{number}", customer_id), headers=dict.fromkeys(HEADERS, as_text(text))
        ).status_code
        for number, (name, text) in enumerate(TEXTS.items())
    }
    world.settle()

    taken = without_long(answers)
    assert set(taken) == {202}
    events = rows_of(world.engine, tables.events, customer_id=customer_id)
    assert len(events) == len(taken)
    assert {row["traceparent"] for row in events} == {None}


@pytest.mark.parametrize("form", ["{}", "t={},v1={}", "t=1772366400,v1={}"])
def test_a_text_as_a_signature_of_stripe(world: World, form: str) -> None:
    before = world.counts()

    answers = {
        name: world.api.ask(
            "POST",
            "/webhooks/stripe",
            {"Stripe-Signature": as_text(form.format(text, text))},
            b'{"object": "event"}',
        ).status_code
        for name, text in TEXTS.items()
    }

    assert set(without_long(answers)) == {400}
    assert changes(before, world.counts()) == {}


# The command.


@pytest.fixture
def cli(
    world: World,
    valkey: Valkey,
    sandbox: RunningSandbox,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Cli]:
    with nothing_set(monkeypatch):
        one = Cli(monkeypatch, capsys, world.engine, world.redis)
        one.set(
            CI="1",
            DATABASE_URL=world.database.worker_url,
            REDIS_URL=valkey.url,
            STRIPE_API_KEY=sandbox.api_key,
            STRIPE_API_BASE=sandbox.url,
        )
        yield one


def can_be_an_argument(text: str) -> bool:
    """What the operating system can hand to a program."""
    try:
        return b"\0" not in os.fsencode(text) and len(os.fsencode(text)) < 128 * 1024
    except UnicodeEncodeError:
        return False


ARGUMENTS = {name: text for name, text in TEXTS.items() if can_be_an_argument(text)}
IMPOSSIBLE = {name: text for name, text in TEXTS.items() if name not in ARGUMENTS}


@pytest.mark.parametrize("text", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_some_texts_cannot_be_arguments_for_no_system_takes_them(text: str) -> None:
    with pytest.raises(ValueError, match=r"null byte|surrogates not allowed"):
        subprocess.run([sys.executable, "-c", "", text])


Words = Callable[[str], list[str]]
NAMES_NOTHING: dict[str, Words] = {
    "customers set-plan, the plan": lambda text: ["customers", "set-plan", "--", "acme", text],
    "customers add, the plan": lambda text: ["customers", "add", f"--plan={text}", "--", "new"],
    "credits grant": lambda text: ["credits", "grant", "--", text, "1"],
    "usage": lambda text: ["usage", "--", text],
    "keys revoke": lambda text: ["keys", "revoke", "--", text],
    "quarantine show": lambda text: ["quarantine", "show", "--", text],
    "quarantine replay": lambda text: ["quarantine", "replay", "--", text],
    "a command": lambda text: ["--", text],
    "a command of a command": lambda text: ["customers", "--", text],
    "an option": lambda text: ["usage", f"--{text}=x", "acme"],
}


def thrown(cli: Cli, words: Words) -> dict[str, int]:
    """The exit code for each text; whatever is printed must be fit for a terminal."""
    codes, wrong = {}, {}
    for name, text in ARGUMENTS.items():
        try:
            done = cli(*words(text))
        except Exception as error:
            wrong[name] = f"ends with {type(error).__name__}"
            continue
        codes[name] = done.code
        if hidden := hidden_in(done.out + done.err):
            wrong[name] = f"prints {hidden}"
        elif done.code not in {0, 1, 2} or (done.out and done.code):
            wrong[name] = f"exits with {done.code} and prints {done.out[:80]}"
    assert wrong == {}
    return codes


@pytest.mark.every(3)
@pytest.mark.parametrize("words", NAMES_NOTHING.values(), ids=NAMES_NOTHING)
def test_a_text_that_names_nothing_is_refused_by_the_command(
    world: World, cli: Cli, words: Words
) -> None:
    before = world.counts()

    codes = thrown(cli, words)

    assert {name: code for name, code in codes.items() if code not in {1, 2}} == {}
    assert changes(before, world.counts()) == {}


def test_a_text_as_a_new_customer(world: World, cli: Cli) -> None:
    codes = thrown(cli, lambda text: ["customers", "add", "--", text])

    legal = {name for name, text in ARGUMENTS.items() if fullmatch(ID, text)}
    assert {name for name, code in codes.items() if code == 0} == legal
    added = {row["customer_id"] for row in rows_of(world.engine, tables.customers)}
    assert {ARGUMENTS[name] for name in legal} <= added


def test_a_text_that_describes_a_customer_is_kept_literally_or_refused(
    world: World, cli: Cli
) -> None:
    ids = {text: f"described-{number}" for number, text in enumerate(TEXTS.values())}

    codes = thrown(
        cli, lambda text: ["customers", "add", f"--name={text}", f"--email={text}", "--", ids[text]]
    )

    rows = {row["customer_id"]: row for row in rows_of(world.engine, tables.customers)}
    for name, text in ARGUMENTS.items():
        kept = rows.get(ids[text])
        assert (kept is not None) is (codes[name] == 0), name
        assert kept is None or (kept["name"], kept["email"]) == (text, text), name
        assert codes[name] == 0 or len(text) > 100 or not text.isprintable(), name


def test_a_text_as_the_key_of_a_grant_is_kept_literally_or_refused(world: World, cli: Cli) -> None:
    customer_id = add_customer(world.engine, "granted")

    codes = thrown(cli, lambda text: ["credits", "grant", f"--key={text}", "--", customer_id, "1"])

    given = {row["grant_id"] for row in rows_of(world.engine, tables.grants, customer_id="granted")}
    taken = {ARGUMENTS[name] for name, code in codes.items() if code == 0}
    assert {text for text in taken if text} <= given
    assert len(given) == len(taken)
    assert {text for text in given if not fullmatch(ID, text)} == set()


def test_a_text_as_the_name_of_a_key_is_kept_literally_or_refused(world: World, cli: Cli) -> None:
    codes = thrown(cli, lambda text: ["keys", "create", "--", text])

    names = {row["name"] for row in rows_of(world.engine, tables.api_keys)}
    taken = {ARGUMENTS[name] for name, code in codes.items() if code == 0}
    listed = cli("keys", "list")
    assert taken <= names
    assert hidden_in(listed.out) == set()


def test_a_text_as_the_customer_of_a_key_is_an_id_or_refused(world: World, cli: Cli) -> None:
    codes = thrown(cli, lambda text: ["keys", "create", f"--customer={text}", "--", "bound"])

    legal = {name for name, text in ARGUMENTS.items() if fullmatch(ID, text)}
    assert {name for name, code in codes.items() if code == 0} == legal


def test_a_text_as_a_payment_method_is_refused(
    world: World, cli: Cli, sandbox: RunningSandbox
) -> None:
    stripe_customer = sandbox.client().v1.customers.create({}).id
    customer_id = f"paying-{stripe_customer}"
    add_customer(world.engine, customer_id, stripe_customer=stripe_customer)
    before = world.counts()

    codes = thrown(
        cli, lambda text: ["customers", "add-payment-method", "--json", "--", customer_id, text]
    )

    assert set(codes.values()) <= {1, 2}
    assert changes(before, world.counts()) == {}


FLAGS = {
    "--customer": "data.customer_id",
    "--fix-id": "data.fix_id",
    "--repository": "data.repository",
    "--commit": "data.commit_sha",
    "--finding": "data.finding",
    "--source": "source",
    "--event-id": "id",
    "--time": "time",
    "--pull-request": "data.pull_request",
}
MEANS_THE_DEFAULT = {"--source", "--event-id", "--time"}  # where empty


@pytest.mark.parametrize("flag", FLAGS)
def test_a_text_as_a_flag_of_publish(world: World, cli: Cli, flag: str) -> None:
    customer_id = add_customer(world.engine, f"flag{flag}")
    numbers = {text: number for number, text in enumerate(TEXTS.values())}
    sound = {
        "--customer": customer_id,
        "--repository": "acme/shop",
        "--commit": "0123abcd",
        "--time": (NOW - MINUTE).isoformat(),
    }

    def words(text: str) -> list[str]:
        flags = sound | {"--fix-id": f"fix-{numbers[text]}", flag: text}
        return ["publish", *(f"{name}={value}" for name, value in flags.items())]

    codes = thrown(cli, words)
    world.settle()

    legal = {
        name
        for name, text in ARGUMENTS.items()
        if fullmatch(LEGAL[FLAGS[flag]], text)
        or (flag in MEANS_THE_DEFAULT and not text)
        or (flag == "--pull-request" and fullmatch(r"\d{1,9}", text) and int(text) > 0)
    }
    assert {name for name, code in codes.items() if code == 0} == legal
    assert {code for name, code in codes.items() if name not in legal} <= {2}
    billed = 0 if flag in {"--customer", "--time"} else len(legal)
    transfers = rows_of(world.engine, tables.transfers, customer_id=customer_id)
    assert len(transfers) == billed


# GitHub's payload.


GITHUB = [
    "action",
    "repository.full_name",
    "repository.html_url",
    "repository.default_branch",
    "repository.id",
    "pull_request.merged_at",
    "pull_request.merge_commit_sha",
    "pull_request.base.ref",
    "pull_request.number",
    "pull_request.title",
    "sender.login",
]
IGNORED = {"pull_request.title", "sender.login"}
COMMIT = "pull_request.merge_commit_sha"


@pytest.mark.parametrize("field", GITHUB)
def test_a_text_in_a_payload_of_github(field: str) -> None:
    payload = json.loads(PAYLOAD.read_text())
    taken, problems = {}, []

    for name, text in TEXTS.items():
        changed = deepcopy(payload)
        *places, last = field.split(".")
        target = changed
        for place in places:
            target = target.setdefault(place, {})
        target[last] = text
        for escaped in (True, False):
            body = as_text(json.dumps(changed, ensure_ascii=escaped))
            try:
                taken[name] = event_from_github(body, "acme")
            except BadEvent as error:
                problems.append(str(error))

    assert [each for each in problems if hidden_in(each)] == []
    sound = event_from_github(PAYLOAD.read_bytes(), "acme")
    legal = {
        name
        for name, text in TEXTS.items()
        if field in IGNORED or (field == COMMIT and fullmatch(LEGAL["data.commit_sha"], text))
    }
    assert set(taken) == legal
    for name, event in taken.items():
        commit = TEXTS[name] if field == COMMIT else sound.data.commit_sha
        data = sound.data.model_copy(update={"commit_sha": commit})
        assert event == sound.model_copy(update={"data": data})


@pytest.mark.parametrize("name", ["customer", "finding"])
def test_a_text_beside_a_payload_of_github(name: str) -> None:
    body = PAYLOAD.read_bytes()
    taken, problems = set(), []

    for text in TEXTS.values():
        try:
            event_from_github(body, *(("acme", text) if name == "finding" else (text, None)))
        except BadEvent as error:
            problems.append(str(error))
        else:
            taken.add(text)

    assert taken == {text for text in TEXTS.values() if fullmatch(ID, text)}
    assert len(problems) == len(TEXTS) - len(taken)
    assert [each for each in problems if hidden_in(each)] == []
