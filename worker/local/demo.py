"""The main job, once, with every part real: fixes become credits used and cards charged."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import urllib3
from sqlalchemy import Engine, func, select

from producers.github import event_from_github
from schemas.answers import Usage
from schemas.events import REVERTED, Event, new_event
from schemas.inbox import EVENT, stream_of
from schemas.listings import ChargeAnswer, FixAnswer
from worker import inbox
from worker.clock import Clock
from worker.customers import add_payment_method, create_customer
from worker.due import Tools
from worker.inbox import Inbox
from worker.local.account import ENVIRONMENT
from worker.local.stack import Stack
from worker.storage.engine import WORKER, connect
from worker.storage.quarantine import Quarantined, list_quarantine
from worker.storage.tables import charges
from worker.stripe_gateway import StripeGateway
from worker.usage.charges import list_charges
from worker.usage.current import current_usage
from worker.usage.fixes import list_fixes
from worker.usage.freshness import watermark
from worker.usage.verify import Check, verify

# In a checkout, or as the wheel carries them.
CHECKOUT = Path(__file__).parents[2] / "docs" / "examples" / "github"
EXAMPLES = CHECKOUT if CHECKOUT.is_dir() else Path(__file__).with_name("examples")
REVERTED_AFTER = timedelta(days=1)
SETTLED_WITHIN = 40.0  # seconds
UNSETTLED = ("open", "frozen")

TRIAL, PAYG, PRO, DECLINING = "tern-books", "acme-shop", "nova-cloud", "rusty-cards"


class NotSettled(RuntimeError):
    """The demo waited in vain; the logs of the stack say why."""


class Told(NamedTuple):
    """One thing the demo did."""

    door: str
    what: str
    answer: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the demo shows at its end."""

    fixes: list[FixAnswer]
    charges: list[ChargeAnswer]
    usage: dict[str, Usage]
    quarantine: list[Quarantined]
    checks: list[Check]


def run_demo(stack: Stack, tell: Callable[[Told], None]) -> Outcome:
    """Customers, fixes through every door, a duplicate, garbage; then wait, and look."""
    tools = tools_of(stack)
    create_customers(tools)
    for told in publish_all(stack, tools):
        tell(told)
    wait_until_settled(tools)
    return look(tools)


def tools_of(stack: Stack) -> Tools:
    env = stack.environment
    return Tools(
        engine=connect(env["DATABASE_URL"], WORKER),
        redis=inbox.connect(env["REDIS_URL"]),
        stripe=StripeGateway(env["STRIPE_API_KEY"], env.get("STRIPE_API_BASE")),
        clock=Clock(),
    )


def create_customers(tools: Tools) -> None:
    """A trial, pay-as-you-go, one who will go Pro, and one whose card is declined."""
    engine, clock = tools.engine, tools.clock
    for customer_id, plan in ((TRIAL, "trial"), (PAYG, "payg"), (PRO, "payg"), (DECLINING, "payg")):
        create_customer(customer_id, plan, engine, clock, name=customer_id)
    for customer_id, card in (
        (PAYG, "pm_card_visa"),
        (PRO, "pm_card_mastercard"),
        (DECLINING, "pm_card_chargeCustomerFail"),
    ):
        add_payment_method(customer_id, card, engine, tools.stripe, clock)


def publish_all(stack: Stack, tools: Tools) -> Iterator[Told]:
    doors = DemoDoors(stack, tools)
    for number in range(1, 5):
        yield doors.by_http(TRIAL, "merged-base-images-openssl.json", f"CVE-2026-100{number}")
    yield doors.by_cli(TRIAL, "merged-base-images-openssl.json", "CVE-2026-1005")
    for number in (6, 7):
        yield doors.by_http(TRIAL, "merged-base-images-openssl.json", f"CVE-2026-100{number}")
    yield doors.revert(TRIAL, "merged-base-images-openssl.json", "CVE-2026-1001")
    yield doors.by_cli(PAYG, "merged-order-events-sql-injection.json")
    yield doors.by_http(PAYG, "merged-order-events-sql-injection.json", "CWE-89-login")
    yield doors.by_cli(PAYG, "merged-order-events-sql-injection.json", note="the same again")
    yield doors.go_pro(PRO)
    yield doors.by_batch(PRO, "merged-storefront-lodash.json", 10)
    yield doors.by_celery(PRO, "merged-storefront-lodash.json", "CVE-2026-3001")
    yield doors.by_http(DECLINING, "merged-payments-api-requests.json")
    yield doors.by_cli(PAYG, "closed-unmerged.json")
    yield doors.garbage()


@dataclass(frozen=True, slots=True)
class DemoDoors:
    """The ways in, each used as its users would."""

    stack: Stack
    tools: Tools

    def by_cli(
        self, customer_id: str, payload: str, finding: str | None = None, note: str = ""
    ) -> Told:
        words = ["publish", "--github-event", str(EXAMPLES / payload), "--customer", customer_id]
        words += ["--finding", finding] if finding else []
        words += ["--wait", "15", "--json"]
        done = self.run("worker.cli.main", *words)
        return Told("cli", described(customer_id, payload, finding, note), said(done))

    def by_http(self, customer_id: str, payload: str, finding: str | None = None) -> Told:
        event = read_payload(payload, customer_id, finding)
        return Told("http", described(customer_id, payload, finding), self.post(event))

    def by_batch(self, customer_id: str, payload: str, how_many: int) -> Told:
        findings = [f"CVE-2026-20{number:02}" for number in range(1, how_many + 1)]
        events = [read_payload(payload, customer_id, finding) for finding in findings]
        reply = self.send(b"[" + b",".join(event.to_bytes() for event in events) + b"]")
        outcomes = Counter(
            each.get("outcome") or each["status"] for each in reply.json()["results"]
        )
        told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
        return Told("http", described(customer_id, payload, f"{how_many} findings at once"), told)

    def go_pro(self, customer_id: str) -> Told:
        done = self.run("worker.cli.main", "customers", "set-plan", customer_id, "pro", "--json")
        answer = done.stderr.strip()
        if done.returncode == 0:
            plan = json.loads(done.stdout)["plan"]
            answer = f"{plan['subscription_status']}, paid until {plan['paid_until'][:10]}"
        return Told("cli", f"{customer_id} · set-plan pro", answer)

    def revert(self, customer_id: str, payload: str, finding: str) -> Told:
        fix = read_payload(payload, customer_id, finding)
        event = new_event(
            source=fix.source, time=fix.time + REVERTED_AFTER, data=fix.data, type=REVERTED
        )
        return Told("http", described(customer_id, payload, finding, "reverted"), self.post(event))

    def by_celery(self, customer_id: str, payload: str, finding: str) -> Told:
        event = read_payload(payload, customer_id, finding).to_bytes().decode()
        call = ["-A", "worker.celery_app", "call", "fixbill.fix_deployed", "--args", f"[{event}]"]
        done = self.run("celery", "-q", *call)
        answer = "sent" if done.returncode == 0 else done.stderr.strip()
        return Told("celery", described(customer_id, payload, finding), answer)

    def garbage(self) -> Told:
        self.tools.redis.xadd(stream_of(0), {EVENT: b"\xff\x00 not an event"})
        return Told("redis", "bytes that are no event", "sent")

    def send(self, body: bytes) -> urllib3.BaseHTTPResponse:
        return urllib3.request(
            "POST",
            f"{self.stack.environment['FIXBILL_API_URL']}/api/v1/billing/track_fix",
            body=body,
            headers={
                "Authorization": f"Bearer {self.stack.environment['FIXBILL_API_KEY']}",
                "Prefer": "wait=15",
            },
            timeout=30,
        )

    def post(self, event: Event) -> str:
        answer = self.send(event.to_bytes()).json()
        return str(answer.get("outcome") or answer.get("detail") or answer.get("status"))

    def run(self, module: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *words],
            env=ENVIRONMENT | self.stack.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def read_payload(payload: str, customer_id: str, finding: str | None) -> Event:
    return event_from_github((EXAMPLES / payload).read_bytes(), customer_id, finding)


def described(customer_id: str, payload: str, finding: str | None, note: str = "") -> str:
    words = [customer_id, payload.removesuffix(".json"), finding or "", note]
    return " · ".join(word for word in words if word)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """What `fixbill publish --json` answered, or the sentence with which it refused."""
    if not done.stdout.strip():
        return done.stderr.strip()
    receipt = json.loads(done.stdout)[0]
    return str(receipt.get("outcome") or receipt.get("detail") or receipt["status"])


def wait_until_settled(tools: Tools) -> None:
    """Nothing in the inbox, and no charge that could still be collected now."""
    deadline = time.monotonic() + SETTLED_WITHIN
    box = Inbox(tools.redis)
    while box.depth().entries or collectable(tools.engine):
        if time.monotonic() > deadline:
            raise NotSettled(f"not settled within {SETTLED_WITHIN:.0f} s; the logs say why")
        time.sleep(0.1)


def collectable(engine: Engine) -> int:
    waiting = select(func.count()).select_from(charges)
    with engine.begin() as tx:
        return tx.scalar(waiting.where(charges.c.status.in_(UNSETTLED))) or 0


def look(tools: Tools) -> Outcome:
    """Everything there is to show."""
    now, box = tools.clock.now(), Inbox(tools.redis)
    customers = (TRIAL, PAYG, PRO, DECLINING)
    marks = {each: watermark(box, each) for each in customers}
    with tools.engine.begin() as tx:
        usage = {each: current_usage(tx, each, now, marks[each]) for each in customers}
        fixes = [fix for each in customers for fix in reversed(list_fixes(tx, each).items)]
        owed = [owed for each in customers for owed in reversed(list_charges(tx, each).items)]
        refused = list_quarantine(tx, limit=100)
    return Outcome(
        fixes,
        owed,
        {customer_id: answer for customer_id, answer in usage.items() if answer},
        refused,
        verify(tools.engine, tools.stripe),
    )
