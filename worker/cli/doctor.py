"""`fixbill doctor`: what is missing or weak in this installation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import click
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from migrations.migrate import is_current
from worker.cli.show import print_json, print_table
from worker.due import Tools
from worker.inbox import Inbox
from worker.keys import is_good
from worker.process import open_tools
from worker.settings import settings
from worker.storage.producer_keys import list_producer_keys


class Finding(NamedTuple):
    """One thing that was looked at."""

    what: str
    ok: bool
    advice: str


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")
def command(as_json: bool) -> int:
    """Look at the database, its schema, the inbox store and who may write to it."""
    findings = list(examine(open_tools()))
    ok = all(finding.ok for finding in findings)
    if as_json:
        print_json({"ok": ok, "findings": [finding._asdict() for finding in findings]})
    else:
        rows = [(each.what, "ok" if each.ok else "WEAK", each.advice) for each in findings]
        print_table(("what", "", "advice"), rows)
    return 0 if ok else 1


def examine(tools: Tools) -> Iterator[Finding]:
    yield database(tools)
    yield from inbox(tools)
    yield stripe(tools)
    yield producers(tools)


def database(tools: Tools) -> Finding:
    try:
        with tools.engine.connect() as connection:
            current = is_current(connection)
    except SQLAlchemyError as error:
        return Finding("database", False, f"cannot be reached ({type(error).__name__})")
    advice = "" if current else "run: alembic -c migrations/alembic.ini upgrade head"
    return Finding("database", current, advice)


def producers(tools: Tools) -> Finding:
    """Somebody must be able to put entries into the inbox that are taken."""
    if settings().trust_redis:
        return Finding("producers", True, "TRUST_REDIS takes entries from all who reach the inbox")
    try:
        with tools.engine.begin() as tx:
            found = any(is_good(key, tools.clock.wall()) for key in list_producer_keys(tx))
    except SQLAlchemyError as error:
        return Finding("producers", False, f"cannot be looked up ({type(error).__name__})")
    advice = "" if found else "no entry is taken: run `fixbill keys producer create`, docs/keys.md"
    return Finding("producers", found, advice)


def stripe(tools: Tools) -> Finding:
    missing = tools.stripe.missing_permissions()
    advice = f"give the Stripe key the permission to {', to '.join(missing)}" if missing else ""
    return Finding("stripe", not missing, advice)


def inbox(tools: Tools) -> Iterator[Finding]:
    try:
        weaknesses = Inbox(tools.redis).weaknesses()
    except RedisError as error:
        yield Finding("inbox", False, f"cannot be reached ({type(error).__name__})")
        return
    for weakness in weaknesses:
        yield Finding("inbox", False, weakness)
    if not weaknesses:
        yield Finding("inbox", True, "")
