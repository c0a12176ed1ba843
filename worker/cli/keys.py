"""`fixbill keys`: keys of the API, and keys producers sign with."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from re import fullmatch
from typing import Any

import click

from schemas.events import ID_PATTERN, ID_RULE
from worker.billing.admission import ProducerKey
from worker.cli.show import print_json, print_table, visible
from worker.due import Tools
from worker.keys import PATTERN, SCOPES, create_key, rotate_key
from worker.process import open_tools
from worker.producer_keys import (
    PRODUCER_SCOPES,
    AlreadyRegistered,
    Made,
    WeakKey,
    create_producer_key,
    rotate_producer_key,
)
from worker.storage.api_keys import ApiKey, list_keys, revoke_key
from worker.storage.producer_keys import list_producer_keys, revoke_producer_key

EXPECTED = (AlreadyRegistered, WeakKey)


def customer_ids(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    for customer_id in given:
        if not fullmatch(ID_PATTERN, customer_id):
            raise click.BadParameter(f"a customer id is {ID_RULE}")
    return given


def expiry(_: click.Context, __: click.Parameter, days: int | None) -> datetime | None:
    return None if days is None else datetime.now(UTC) + timedelta(days=days)


def hours(_: click.Context, __: click.Parameter, given: int) -> timedelta:
    return timedelta(hours=given)


def public_bytes(_: click.Context, __: click.Parameter, given: str | None) -> bytes | None:
    """Base64 of either alphabet, with or without its padding."""
    if given is None:
        return None
    plain = given.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        found = b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except ValueError:
        found = b""
    if len(found) != 32:
        raise click.BadParameter("an Ed25519 public key is 32 bytes in base64")
    return found


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")
bound = click.option(
    "--customer",
    "customers",
    multiple=True,
    callback=customer_ids,
    help="Bind the key; without: all.",
)
expiring = click.option(
    "--expires-in-days", "expires_at", type=click.IntRange(1, 3650), callback=expiry
)
overlapping = click.option(
    "--overlap-hours",
    "overlap",
    type=click.IntRange(0, 24 * 365),
    default=24,
    show_default=True,
    callback=hours,
    help="How long the old key stays good.",
)
public_key = click.option(
    "--public-key",
    metavar="BASE64",
    callback=public_bytes,
    help="Register a key made elsewhere; its secret half stays there.",
)


@click.group()
def command() -> None:
    """Create, rotate, list and revoke keys; KEY_ID is the part after fbk_ or fbs_."""


@command.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), default=["publish"])
@bound
@expiring
@as_json
def create(
    name: str,
    scopes: tuple[str, ...],
    customers: tuple[str, ...],
    expires_at: datetime | None,
    as_json: bool,
) -> None:
    """Make an API key and print it, this once."""
    tools = open_tools()
    key = create_key(name, scopes, customers, expires_at, tools.engine, tools.clock)
    if as_json:
        print_json({"key": key, "name": name, "scopes": scopes, "customers": customers})
    else:
        click.echo(key)


@command.command()
@click.argument("key_id")
@overlapping
@as_json
def rotate(key_id: str, overlap: timedelta, as_json: bool) -> int:
    """Make an API key that may do the same, and let the old one expire."""
    tools = open_tools()
    key = rotate_key(key_id, overlap, tools.engine, tools.clock)
    if key is None:
        return not_in_force(key_id)
    if as_json:
        parts = PATTERN.fullmatch(key)
        print_json({"key": key, "key_id": parts and parts[1], "replaces": key_id})
    else:
        click.echo(key)
    return 0


@command.command("list")
@as_json
def list_all(as_json: bool) -> None:
    """All keys of both kinds, without their secrets."""
    with open_tools().engine.begin() as tx:
        api = [shown(key) for key in list_keys(tx)]
        show([*api, *(shown(key) for key in list_producer_keys(tx))], as_json)


@command.command()
@click.argument("key_id")
@as_json
def revoke(key_id: str, as_json: bool) -> int:
    """Refuse a key of either kind from now on."""
    return revoked(key_id, as_json, revoke_key, revoke_producer_key)


@command.group()
def producer() -> None:
    """Keys with which producers sign what they put into the inbox."""


@producer.command("create")
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(PRODUCER_SCOPES), default=["publish"]
)
@bound
@expiring
@public_key
@as_json
def create_for_producer(
    name: str,
    scopes: tuple[str, ...],
    customers: tuple[str, ...],
    expires_at: datetime | None,
    public_key: bytes | None,
    as_json: bool,
) -> None:
    """Make a signing key and print it, this once: it goes into FIXBILL_SIGNING_KEY."""
    tools = open_tools()
    made = create_producer_key(
        name, scopes, customers, expires_at, public_key, tools.engine, tools.clock
    )
    more = {"name": name, "scopes": scopes, "customers": customers}
    print_made(made, as_json, **more)


@producer.command("rotate")
@click.argument("key_id")
@overlapping
@public_key
@as_json
def rotate_for_producer(
    key_id: str, overlap: timedelta, public_key: bytes | None, as_json: bool
) -> int:
    """Make a signing key that may do the same, and let the old one expire."""
    tools = open_tools()
    made = rotate_producer_key(key_id, overlap, public_key, tools.engine, tools.clock)
    if made is None:
        return not_in_force(key_id)
    print_made(made, as_json, replaces=key_id)
    return 0


@producer.command("list")
@as_json
def list_of_producers(as_json: bool) -> None:
    """The signing keys, without their secrets, which are not kept here."""
    with open_tools().engine.begin() as tx:
        show([shown(key) for key in list_producer_keys(tx)], as_json)


@producer.command("revoke")
@click.argument("key_id")
@as_json
def revoke_of_producer(key_id: str, as_json: bool) -> int:
    """Refuse what a signing key signed from now on, also what lies in the inbox already."""
    return revoked(key_id, as_json, revoke_producer_key)


def revoked(key_id: str, as_json: bool, *revokers: Callable[..., bool]) -> int:
    tools: Tools = open_tools()
    with tools.engine.begin() as tx:
        done = any(revoke(tx, key_id, tools.clock.wall()) for revoke in revokers)
    if as_json:
        print_json({"key_id": key_id, "revoked": done})
    elif done:
        click.echo("revoked")
    else:
        return not_in_force(key_id)
    return 0 if done else 1


def not_in_force(key_id: str) -> int:
    click.echo(visible(f"there is no key {key_id} in force"), err=True)
    return 1


def print_made(made: Made, as_json: bool, **more: Any) -> None:
    """The secret; of a key that was made elsewhere its id."""
    if as_json:
        print_json({"key": made.secret, "key_id": made.key_id} | more)
    else:
        click.echo(made.secret or made.key_id)


def shown(key: ApiKey | ProducerKey) -> dict[str, Any]:
    """A key without anything that is secret."""
    if isinstance(key, ProducerKey):
        public = b64encode(key.public_key).decode()
        return {"kind": "producer"} | key._asdict() | {"public_key": public}
    return {"kind": "api"} | {n: each for n, each in key._asdict().items() if n != "secret_hash"}


def show(keys: Iterable[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json(list(keys))
        return
    print_table(
        ("key", "name", "scopes", "customers", "expires", "revoked", "last used"),
        [
            (
                f"{'fbk' if key['kind'] == 'api' else 'fbs'}_{key['key_id']}_…",
                key["name"],
                ", ".join(key["scopes"]),
                ", ".join(key["customer_ids"] or ["all"]),
                key["expires_at"],
                key["revoked_at"],
                key["last_used_at"],
            )
            for key in keys
        ],
    )
