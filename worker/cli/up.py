"""`fixbill up`: the whole stack on this machine, until Ctrl-C."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import click

from worker.local.errors import ServerError
from worker.local.stack import Stack

EXPECTED = (ServerError,)


@click.command()
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".fixbill"),
    show_default=True,
    help="Where state, logs, ports and secrets are kept.",
)
@click.option("--reset", is_flag=True, help="Forget everything in that directory first.")
@click.option("--json", "as_json", is_flag=True, help="Print the settings as JSON once ready.")
def command(directory: Path, reset: bool, as_json: bool) -> None:
    """Run Postgres, Valkey, the Stripe sandbox, API, worker and beat.

    Servers named by DATABASE_URL or REDIS_URL are used instead of embedded ones, and Stripe itself
    instead of the sandbox when STRIPE_API_KEY is set. Once all of it answers, DIR/env holds the
    settings in shell syntax: `source DIR/env` in another terminal.
    """
    signal.signal(signal.SIGTERM, interrupt)
    if reset:
        forget(directory)
    try:
        with Stack(directory) as stack:
            announce(stack, as_json)
            while True:
                stack.watch()
    except KeyboardInterrupt:
        click.echo("stopped", err=True)


def interrupt(*_: Any) -> None:
    """Terminated is the same as Ctrl-C: stop what was started."""
    raise KeyboardInterrupt


def forget(directory: Path) -> None:
    """The data may lie elsewhere, behind a link, where the directory is closed to the server."""
    Stack(directory).stop()  # refuses while another stack runs here
    data = directory / "postgres" / "data"
    if data.is_symlink():
        shutil.rmtree(data.resolve(), ignore_errors=True)
    shutil.rmtree(directory)


def announce(stack: Stack, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(stack.environment))
        return
    click.echo(f"ready: {stack.environment['FIXBILL_API_URL']}/docs")
    click.echo(f"  metrics  {stack.environment['FIXBILL_METRICS_URL']}")
    click.echo(f"  settings source {stack.env_file}")
    click.echo(f"  logs     {stack.directory}/*.log")
    click.echo("Ctrl-C stops everything.")
