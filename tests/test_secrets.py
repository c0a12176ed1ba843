"""A secret is planted in every setting that holds one; whatever goes wrong, nobody is told it.

`DIR/env` and `DIR/secrets` of `fixbill up` are meant to hold them, for their owner alone.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

import pytest
import urllib3
from pydantic import SecretStr
from sqlalchemy import Engine
from structlog.testing import capture_logs

from tests.api.client import NOWHERE, TRACK_FIX
from tests.api.signing import signature, webhook
from tests.builders import add_customer, deployed, owe, rows_of
from tests.cli.running import Command, nothing_set
from tests.running import RunningStack, eventually
from tests.stack import Database
from tests.stories.customers import deployed_now, outcomes_in
from worker.clock import Clock
from worker.collect import collect
from worker.customers import create_customer
from worker.links import Links
from worker.local.valkey import Valkey
from worker.settings import Settings
from worker.storage import tables
from worker.stripe_gateway import StripeGateway

# How a setting reads with a secret in it, and nothing listens at any of these addresses.
SHAPES = {
    "database_url": f"postgresql://fixbill:{{}}@{NOWHERE}/fixbill",
    "api_database_url": f"postgresql://api:{{}}@{NOWHERE}/fixbill",
    "owner_database_url": f"postgresql://owner:{{}}@{NOWHERE}/fixbill",
    "redis_url": f"redis://:{{}}@{NOWHERE}/0",
    "inbox_redis_url": f"redis://producer:{{}}@{NOWHERE}/1",
    "celery_broker_url": f"redis://celery:{{}}@{NOWHERE}/2",
    "stripe_api_key": "sk_test_{}",
    "stripe_webhook_secret": "whsec_{}",
    "link_secret": "{}",
    "fixbill_api_key": "fbk_0123456789ab_{}",
    "fixbill_signing_key": "fbs_0123456789ab_{}",
}
URLS = [name for name in SHAPES if name.endswith("_url")]


class Planted:
    """Settings of which each has a secret of its own, and whatever has been said since."""

    def __init__(self) -> None:
        self.secrets = {name: secrets.token_urlsafe(32) for name in SHAPES}
        self.said: dict[str, str] = {}

    @property
    def environment(self) -> dict[str, str]:
        filled = {name.upper(): SHAPES[name].format(each) for name, each in self.secrets.items()}
        more = {"STRIPE_API_BASE": f"http://{NOWHERE}", "PUBLIC_URL": f"http://{NOWHERE}"}
        return {"PATH": os.environ["PATH"], "LOG_LEVEL": "DEBUG"} | more | filled

    def told(self) -> list[tuple[str, str]]:
        """Who has told which secret."""
        return [
            (who, name)
            for who, text in self.said.items()
            for name, secret in self.secrets.items()
            if secret in text
        ]


@pytest.fixture
def planted() -> Planted:
    return Planted()


def test_every_setting_that_holds_a_secret_is_planted_with_one() -> None:
    hidden = {
        name
        for name, field in Settings.model_fields.items()
        if SecretStr in (field.annotation, *get_args(field.annotation))
    }
    looks_secret = {name for name in Settings.model_fields if re.search("key|secret|pass", name)}

    assert set(SHAPES) == hidden
    assert looks_secret <= hidden


# Everything a process needs is away.


@contextmanager
def api_of(environment: dict[str, str], log: Path) -> Iterator[str]:
    """The API as a process; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening, log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker.api", "--fd", str(listening.fileno())],
            env=environment,
            pass_fds=[listening.fileno()],
            stdout=out,
            stderr=out,
        )
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            process.terminate()
            process.wait(20)


def links_of(planted: Planted) -> list[str]:
    """As a customer would have been sent them: whoever has one needs no key."""
    links = Links(f"http://{NOWHERE}", planted.secrets["link_secret"])
    made = links.to_charge("acme", "ch_1"), links.to_statement("acme", 1), links.to_usage("acme")
    return [urlsplit(each).path for each in made]


def test_an_api_whose_stores_are_away_tells_no_secret_and_no_link(
    planted: Planted, tmp_path: Path
) -> None:
    environment, log = planted.environment, tmp_path / "api.log"
    bearer = {"Authorization": f"Bearer {environment['FIXBILL_API_KEY']}"}
    signed = {"Stripe-Signature": signature(webhook(), environment["STRIPE_WEBHOOK_SECRET"])}
    links = links_of(planted)
    asked: list[tuple[str, str, dict[str, str], bytes]] = [
        ("POST", TRACK_FIX, bearer, deployed().to_bytes()),
        ("POST", TRACK_FIX, bearer, b"no event"),
        ("POST", "/webhooks/stripe", signed, webhook()),
        ("POST", "/webhooks/stripe", signed, b"another body"),
        ("GET", "/api/v1/customers/acme/usage", bearer, b""),
        *[("GET", each, {}, b"") for each in links],
        *[("GET", each[:-1] + "-", {}, b"") for each in links],
        *[("GET", f"/{name}", {}, b"") for name in ("readyz", "openapi.json", "ops", "nowhere")],
        ("GET", "/metrics", {}, b""),
    ]

    with api_of(environment, log) as address:
        for method, path, headers, body in asked:
            answer = urllib3.request(
                method, address + path, headers=headers, body=body, timeout=30, retries=False
            )
            text = answer.data.decode()
            planted.said[f"{method} {path[:12]} {answer.status}"] = f"{answer.headers}{text}"
    planted.said["log"] = log.read_text()

    assert "database_away" in planted.said["log"]
    assert planted.told() == []
    assert [each for each in links if each.rpartition("/")[2] in planted.said["log"]] == []


CELERY = {  # and a word of the last that each says
    "worker --pool threads -l DEBUG": "inbox_unreadable",
    "beat -l DEBUG -s {}": "maxinterval",
    "report": "task_routes",
}


@pytest.mark.parametrize("role", CELERY)
def test_celery_whose_broker_is_away_tells_no_secret(
    planted: Planted, tmp_path: Path, role: str
) -> None:
    log = tmp_path / "log"
    words = role.format(tmp_path / "schedule").split()
    environment = planted.environment | {"PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "celery", "-A", "worker.celery_app", *words]
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
        said = eventually(lambda: CELERY[role] in log.read_text())
        process.terminate()
        process.wait(20)
    planted.said[role] = log.read_text()

    assert said, planted.said[role]
    assert planted.told() == []


# The command, at a Stripe that takes no key and quotes it.


@pytest.fixture
def quoting_stripe() -> Iterator[str]:
    """Refuses every key, and says which."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            message = f"Invalid API Key provided: {self.headers['Authorization']}"
            body = json.dumps({"error": {"type": "invalid_request_error", "message": message}})
            self.send_response(401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST = do_DELETE = answer  # noqa: N815

        def log_message(self, *_facts: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def command(
    planted: Planted,
    quoting_stripe: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Iterator[Command]:
    with nothing_set(monkeypatch):
        one = Command(monkeypatch, capsys)
        one.set(**planted.environment | {"STRIPE_API_BASE": quoting_stripe})
        one.set(FIXBILL_SPOOL=str(tmp_path))
        yield one


COMMANDS = [
    "doctor",
    "doctor --json",
    "customers add acme --json",
    "customers add-payment-method acme pm_card_visa",
    "credits grant acme 5 --json",
    "charges list acme --json",
    "collecting stop --json",
    "keys create robot --json",
    "keys list --json",
    "plans show --json",
    "quarantine list --json",
    "reconcile --json",
    "rollover --json",
    "statements list acme --json",
    "usage acme --json",
    "verify --json",
    "clock show --json",
    "publish --customer acme --fix-id f --repository a/b --commit 0123abcd --json",
]


def test_no_command_tells_a_secret_while_everything_is_away(
    planted: Planted, command: Command
) -> None:
    for api_url in (None, f"http://{NOWHERE}"):
        command.set(FIXBILL_API_URL=api_url)
        for words in COMMANDS:
            done = command(*words.split())
            planted.said[f"{words} {api_url}"] = f"{done.out}{done.err}"

    assert planted.told() == []


MALFORMED = {
    "another scheme": "http://u:{}@host/db",
    "no scheme": "u:{}@host/db",
    "a port that is no number": "{scheme}://u:{}@host:port/db",
    "a port that cannot be": "{scheme}://u:{}@host:99999/db",
    "port 0": "{scheme}://u:{}@host:0/db",
    "an address that is none": "{scheme}://u:{}@[::1/db",
    "a slash in the password": "{scheme}://u:{}/x@" + NOWHERE + "/db",
    "a hash in the password": "{scheme}://u:{}#x@" + NOWHERE + "/db",
    "an at in the password": "{scheme}://u:x@{}@" + NOWHERE + "/db",
    "a per cent in the password": "{scheme}://u:%zz{}@" + NOWHERE + "/db",
    "the password alone": "{}",
}


@pytest.mark.parametrize("name", URLS)
def test_no_malformed_address_is_quoted(planted: Planted, command: Command, name: str) -> None:
    scheme = SHAPES[name].partition(":")[0]
    for how, shape in MALFORMED.items():
        url = shape.format(planted.secrets[name], scheme=scheme)
        command.set(**{name.upper(): url})
        for words in ("doctor --json", "publish --customer a --fix-id f --repository a/b"):
            done = command(*words.split())
            planted.said[f"{how}: {words}"] = f"{done.out}{done.err}"
            assert done.code != 0, how

    assert planted.told() == []


@pytest.mark.parametrize("name", ["fixbill_api_key", "fixbill_signing_key", "stripe_api_key"])
def test_no_malformed_key_is_quoted(planted: Planted, command: Command, name: str) -> None:
    secret = planted.secrets[name]
    for key in (
        secret,
        f"{secret}\n",
        f"fbs_{secret}",
        f"fbk_0123456789ab_{secret}x",
        f"é{secret}",
    ):
        over_http = f"http://{NOWHERE}" if name == "fixbill_api_key" else None
        command.set(**{name.upper(): key}, FIXBILL_API_URL=over_http)
        for words in (COMMANDS[-1], "doctor --json"):
            done = command(*words.split())
            planted.said[f"{key[:4]}: {words}"] = f"{done.out}{done.err}"

    assert planted.told() == []


def test_a_key_that_stripe_refuses_and_quotes_is_told_to_nobody(
    planted: Planted,
    command: Command,
    database: Database,
    engine: Engine,
    valkey: Valkey,
    quoting_stripe: str,
    clock: Clock,
) -> None:
    add_customer(engine)
    add_customer(engine, "globex", card=False)
    due = owe(engine)
    gateway = StripeGateway(planted.environment["STRIPE_API_KEY"], quoting_stripe)
    command.set(DATABASE_URL=database.worker_url, INBOX_REDIS_URL=valkey.url)
    with capture_logs() as logged:
        collect(due, engine, gateway, clock)
        for words in (
            "doctor --json",
            "customers add-payment-method globex pm_card_visa",
            "customers set-plan acme pro",
            "reconcile --json",
            "verify --json",
            f"charges show {due.charge_id}",
            "charges list acme --json",
        ):
            done = command(*words.split())
            planted.said[words] = f"{done.out}{done.err}"
    planted.said["logs"] = repr(logged)
    planted.said["rows"] = repr([rows_of(engine, each) for each in tables.metadata.sorted_tables])

    assert "STRIPE_API_KEY" in planted.said["customers add-payment-method globex pm_card_visa"]
    assert planted.told() == []


# The whole product, while its servers die.


def secrets_of(stack: RunningStack) -> dict[str, str]:
    """Made at run time: each is as good as one that is planted."""
    passwords = {
        name: urlsplit(url).password or "" for name, url in stack.env.items() if "://" in url
    }
    plain = {name: each for name, each in stack.env.items() if re.search("KEY|SECRET", name)}
    return {name: each for name, each in (passwords | plain).items() if each}


def said_by(stack: RunningStack) -> dict[str, str]:
    """Every log, and every other file that nothing closes to others."""
    found = {}
    for each in stack.directory.rglob("*"):
        inside = each.relative_to(stack.directory)
        path = [stack.directory / part for part in (inside, *inside.parents[:-1])]
        with suppress(OSError):  # a server's file that is gone by now
            is_open = all(part.stat().st_mode & 0o077 for part in path)
            if each.is_file() and (is_open or each.suffix == ".log"):
                found[str(inside)] = each.read_text(errors="replace")
    return found


def try_all(stack: RunningStack, customer: str, link: str) -> dict[str, str]:
    """Good and bad requests; what is answered is answered, be it an error."""
    asked = [
        (stack.authorized, TRACK_FIX, deployed_now(customer, 1)[0].to_bytes()),
        ({"Authorization": f"Bearer fbk_{'0' * 12}_{'x' * 43}"}, TRACK_FIX, b"{}"),
        ({"Stripe-Signature": "t=1,v1=0"}, "/webhooks/stripe", b"{}"),
        (stack.authorized, f"/api/v1/customers/{customer}/usage", None),
        ({}, link, None),
        ({}, "/metrics", None),
        ({}, "/readyz", None),
    ]
    found = {}
    for headers, path, body in asked:
        method = "GET" if body is None else "POST"
        url = stack.env["FIXBILL_API_URL"] + path
        with suppress(urllib3.exceptions.HTTPError):
            answer = urllib3.request(method, url, headers=headers, body=body, timeout=40)
            found[path[:20]] = f"{answer.headers}{answer.data.decode()}"
    return found


def comes_back(stack: RunningStack, server: str, before: int) -> bool:
    return eventually(lambda: stack.pids()[server] != before)


def test_a_stack_whose_servers_die_names_no_secret_no_link_and_nobody(
    stack: RunningStack,
) -> None:
    name, email = "Zebulon Quartermain", "zebulon@quartermain.example"
    customer, tools = f"named-{secrets.token_hex(4)}", stack.tools
    create_customer(customer, "trial", tools.engine, tools.clock, name=name, email=email)
    links = Links(stack.env["PUBLIC_URL"], stack.env["LINK_SECRET"])
    link = urlsplit(links.to_usage(customer)).path

    said = {f"good {path}": text for path, text in try_all(stack, customer, link).items()}
    for server in ("valkey", "postgres", "worker"):
        before = stack.pids()[server]
        stack.kill(server)
        answers = try_all(stack, customer, link)
        said |= {f"without {server}: {path}": text for path, text in answers.items()}
        assert comes_back(stack, server, before)
    assert eventually(lambda: stack.post(deployed_now(customer, 2), wait=5)[0] == 207)
    assert eventually(lambda: len(outcomes_in(stack, customer)) == 2)
    logs = said_by(stack)

    hidden = secrets_of(stack)
    told = {
        (who, what)
        for who, text in (said | logs).items()
        for what, secret in hidden.items()
        if secret in text
    }
    assert told == set()
    assert {each.name for each in map(Path, logs)} >= {
        "api.log",
        "worker.log",
        "beat.log",
        "up.log",
    }
    mine = (name, "Zebulon", email, link.rpartition("/")[2])
    assert [(who, each) for who, text in logs.items() for each in mine if each in text] == []


def test_what_is_meant_to_hold_secrets_is_for_its_owner_alone(stack: RunningStack) -> None:
    files = [stack.directory / "env", *(stack.directory / "secrets").iterdir()]

    modes = {each.name: each.stat().st_mode & 0o777 for each in files}

    assert len(modes) > 4
    assert set(modes.values()) == {0o600}
    assert stack.directory.joinpath("secrets").stat().st_mode & 0o777 == 0o700
