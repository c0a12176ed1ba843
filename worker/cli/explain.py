"""`fixbill explain`: why a fix or a charge cost what it did, from event to card."""

from __future__ import annotations

from datetime import datetime

import click
from sqlalchemy import Connection

from schemas.explanations import ChargeExplanation, FixExplanation
from worker.cli.show import as_text, print_json, print_table, visible
from worker.due import Tools
from worker.inbox import Inbox
from worker.process import open_tools
from worker.storage.charges import ChargeKey
from worker.storage.engine import snapshot
from worker.storage.evidence import FixKey
from worker.storage.subjects import EntryKey, MoneyKey, Subject, subjects_of
from worker.usage.explain import explain_charge, explain_fix
from worker.usage.freshness import fresh_until, watermark

Explanation = FixExplanation | ChargeExplanation


class NothingToExplain(ValueError):
    """The id leads to no fix or charge, or to several; the message says what to do."""


EXPECTED = (NothingToExplain,)


@click.command()
@click.argument("id")
@click.option("--customer", "customer_id", help="Whose it is, where several have one of this name.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")
def command(id: str, customer_id: str | None, as_json: bool) -> None:
    """Say why a fix or a charge cost what it did, from event to card.

    ID is of a fix, a charge, an event, a contest, an entry in quarantine, a refund, a dispute or a
    payment intent.
    """
    found = explained(id, customer_id, open_tools())
    if as_json:
        print_json(found)
    else:
        print_explanation(found)


def explained(name: str, customer_id: str | None, tools: Tools) -> Explanation:
    """In one snapshot; raises NothingToExplain."""
    with snapshot(tools.engine) as tx:
        subject = the_one(subjects_of(tx, name, customer_id), name, customer_id)
    as_of = watermark(Inbox(tools.redis), subject.customer_id)
    with snapshot(tools.engine) as tx:
        answer = explain(tx, subject, fresh_until(tx, subject.customer_id, as_of))
    if answer is None:
        raise NothingToExplain(nothing(name, customer_id))
    return answer


def explain(
    tx: Connection, subject: FixKey | ChargeKey, as_of: datetime | None
) -> Explanation | None:
    if isinstance(subject, FixKey):
        return explain_fix(tx, subject, as_of)
    return explain_charge(tx, subject, as_of)


def the_one(found: list[Subject], name: str, customer_id: str | None) -> FixKey | ChargeKey:
    """The fix or charge that is meant."""
    if not found:
        raise NothingToExplain(nothing(name, customer_id))
    if len(found) > 1:
        each = "".join(f"\n  {told(subject)}" for subject in found)
        raise NothingToExplain(f"{name} can be several; name one, with --customer:{each}")
    (only,) = found
    if isinstance(only, EntryKey):
        raise NothingToExplain(
            f"{name} stands in quarantine and is about no customer's fix: "
            f"`fixbill quarantine show {only.quarantine_id}` shows its bytes and the reason"
        )
    if isinstance(only, MoneyKey):
        raise NothingToExplain(
            f"{name} is money of {only.customer_id} that is about no fix: an invoice, credits that "
            "were bought, or a payment that no charge explains"
        )
    return only


def told(subject: Subject) -> str:
    kinds = {FixKey: "fix", ChargeKey: "charge", EntryKey: "entry", MoneyKey: "payment"}
    return f"{kinds[type(subject)]} {subject[1]} of customer {subject.customer_id}"


def nothing(name: str, customer_id: str | None) -> str:
    of = f" of {customer_id}" if customer_id else ""
    return f"nothing{of} that we know has the id {name}"


def print_explanation(found: Explanation) -> None:
    say(found.text)
    if isinstance(found, FixExplanation):
        say(f"{found.repository} @ {found.commit_sha}, customer {found.customer_id}")
    click.echo()
    for number, sentence in enumerate(found.story, 1):
        say(f"{number:>3}. {sentence}")
    click.echo()
    for step in found.steps:
        say(f"     {step.text}")
    say(f"     {found.net.text}")
    print_table(
        ("seq", "kind", "from", "to", "amount", "because of", "hash"),
        [
            (
                each.seq,
                each.kind,
                each.from_account,
                each.to_account,
                each.money or each.credits,
                each.source_key,
                each.hash,
            )
            for each in found.transfers
        ],
        title=f"Transfers; the chain is {found.chain}",
    )
    click.echo(f"as of {as_text(found.as_of)}")


def say(sentence: str) -> None:
    click.echo(visible(sentence))
