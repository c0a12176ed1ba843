"""`fixbill keys`: API keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from re import fullmatch

import click

from schemas.events import ID_PATTERN, ID_RULE
from worker.cli.show import print_json, print_table, visible
from worker.keys import SCOPES, create_key
from worker.process import open_tools
from worker.storage.api_keys import list_keys, revoke_key

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")


@click.group()
def command() -> None:
    """Create, list and revoke API keys."""


@command.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), default=["publish"])
@click.option("--customer", "customers", multiple=True, help="Bind the key; without: all.")
@click.option("--expires-in-days", type=click.IntRange(1, 3650))
@as_json
def create(
    name: str,
    scopes: tuple[str, ...],
    customers: tuple[str, ...],
    expires_in_days: int | None,
    as_json: bool,
) -> None:
    """Make a key and print it, this once."""
    for customer_id in customers:
        if not fullmatch(ID_PATTERN, customer_id):
            raise click.BadParameter(f"a customer id is {ID_RULE}", param_hint="--customer")
    tools = open_tools()
    expires_at = (
        None if expires_in_days is None else datetime.now(UTC) + timedelta(days=expires_in_days)
    )
    key = create_key(name, scopes, customers, expires_at, tools.engine, tools.clock)
    if as_json:
        print_json({"key": key, "name": name, "scopes": scopes, "customers": customers})
    else:
        click.echo(key)


@command.command("list")
@as_json
def list_all(as_json: bool) -> None:
    """All keys, without their secrets."""
    tools = open_tools()
    with tools.engine.begin() as tx:
        keys = [key._asdict() for key in list_keys(tx)]
    shown = [{name: each for name, each in key.items() if name != "secret_hash"} for key in keys]
    if as_json:
        print_json(shown)
        return
    print_table(
        ("key", "name", "scopes", "customers", "expires", "revoked", "last used"),
        [
            (
                f"fbk_{key['key_id']}_…",
                key["name"],
                ", ".join(key["scopes"]),
                ", ".join(key["customer_ids"] or ["all"]),
                key["expires_at"],
                key["revoked_at"],
                key["last_used_at"],
            )
            for key in shown
        ],
    )


@command.command()
@click.argument("key_id")
@as_json
def revoke(key_id: str, as_json: bool) -> int:
    """Refuse a key from now on; KEY_ID is the part after fbk_."""
    tools = open_tools()
    with tools.engine.begin() as tx:
        revoked = revoke_key(tx, key_id, tools.clock.wall())
    if as_json:
        print_json({"key_id": key_id, "revoked": revoked})
    elif revoked:
        click.echo("revoked")
    else:
        click.echo(visible(f"there is no key {key_id} in force"), err=True)
    return 0 if revoked else 1
