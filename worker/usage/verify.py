"""Do the books hold what they promise? Every check is a question whose answer should be nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import NamedTuple

from sqlalchemy import Connection, Engine, text

from worker.billing.ledger import ACCOUNTS
from worker.stripe_gateway import StripeGateway
from worker.usage.at_stripe import collected, differences, stripe_truth
from worker.usage.chain import Digest, breaks, noting_heads
from worker.usage.export import ledger_in_order, moment

SHOWN_MAX = 5  # offenders named per check


class Check(NamedTuple):
    """One invariant; `offenders` names what breaks it."""

    name: str
    ok: bool
    offenders: list[str]


BALANCES = " UNION ALL ".join(
    f"SELECT customer_id, '{name}' AS account, {name} AS balance FROM books"  # noqa: S608
    for name in ACCOUNTS
)

# How much one transfer changes each account that it moves between.
CHANGES = """
    SELECT customer_id, cycle, from_account AS account, -amount AS change FROM transfers
    UNION ALL SELECT customer_id, cycle, to_account, amount FROM transfers
"""
TOLD = """
    SELECT customer_id, number, movement ->> 'kind' AS kind,
        (movement ->> 'transfers')::bigint AS transfers,
        coalesce(movement ->> 'credits', movement -> 'money' ->> 'amount')::bigint AS amount
    FROM statements, jsonb_array_elements(body -> 'movements') AS movement
"""

# Each query returns one text column: whatever breaks the invariant.
QUERIES = {
    "balances_equal_transfers": f"""
        SELECT customer_id || ' ' || account FROM (
            SELECT customer_id, account, balance FROM ({BALANCES}) AS kept
            UNION ALL
            SELECT customer_id, to_account, -amount FROM transfers
            UNION ALL
            SELECT customer_id, from_account, amount FROM transfers
        ) AS both_sides GROUP BY customer_id, account HAVING sum(balance) <> 0
    """,  # noqa: S608
    "fixes_settled_once": """
        SELECT coalesce(f.customer_id || ' ' || f.fix_id, t.customer_id || ' ' || t.fix_id)
        FROM fixes AS f FULL JOIN (
            SELECT customer_id, fix_id,
                count(*) FILTER (WHERE kind = 'consume') AS consumed,
                count(*) FILTER (WHERE kind = 'give_back') AS given_back,
                count(*) FILTER (WHERE kind = 'charge') AS charged,
                count(*) FILTER (WHERE kind = 'uncharge') AS uncharged
            FROM transfers WHERE fix_id IS NOT NULL GROUP BY customer_id, fix_id
        ) AS t ON t.customer_id = f.customer_id AND t.fix_id = f.fix_id
        WHERE f.fix_id IS NULL OR NOT CASE f.outcome
            WHEN 'credited'
                THEN (t.consumed, t.given_back, t.charged) IS NOT DISTINCT FROM (1, 0, 0)
            WHEN 'charged'
                THEN (t.charged, t.uncharged, t.consumed) IS NOT DISTINCT FROM (1, 0, 0)
            WHEN 'held' THEN t.fix_id IS NULL
            ELSE coalesce(t.consumed + t.charged, 0) <= 1
                AND coalesce(t.given_back, 0) = coalesce(t.consumed, 0)
        END
    """,
    "charges_equal_lines": """
        SELECT c.charge_id FROM charges AS c LEFT JOIN charge_lines AS l
            ON l.customer_id = c.customer_id AND l.charge_id = c.charge_id
            AND l.removed_at IS NULL
        GROUP BY c.customer_id, c.charge_id
        HAVING c.amount - c.dropped <> coalesce(sum(l.price), 0)
    """,
    "charges_equal_transfers": """
        SELECT c.charge_id FROM charges AS c LEFT JOIN (
            SELECT customer_id, charge_id,
                sum(CASE kind WHEN 'apply' THEN amount WHEN 'unapply' THEN -amount END) AS applied,
                sum(CASE kind WHEN 'refund' THEN amount WHEN 'refund_unapplied' THEN amount
                    WHEN 'refund_failed' THEN -amount
                    WHEN 'refund_unapplied_failed' THEN -amount END) AS returned,
                sum(amount) FILTER (WHERE kind IN ('pay', 'unapplied_in')) AS collected,
                min(source_key) FILTER (WHERE kind IN ('pay', 'unapplied_in')) AS source
            FROM transfers WHERE charge_id IS NOT NULL GROUP BY customer_id, charge_id
        ) AS t USING (customer_id, charge_id)
        WHERE c.applied <> coalesce(t.applied, 0) OR c.returned <> coalesce(t.returned, 0)
            OR c.status = 'paid' AND (c.asked_amount <> coalesce(t.collected, 0)
                OR t.source <> coalesce(c.payment_intent, c.charge_id))
    """,
    "receivable_equals_unpaid_charges": """
        SELECT b.customer_id FROM books AS b LEFT JOIN charges AS c
            ON c.customer_id = b.customer_id AND c.status NOT IN ('paid', 'void')
        GROUP BY b.customer_id
        HAVING b.receivable <> coalesce(sum(c.amount - c.applied - c.dropped), 0)
    """,
    "credits_equal_grants": """
        SELECT b.customer_id FROM books AS b LEFT JOIN grants AS g USING (customer_id)
        GROUP BY b.customer_id HAVING b.credits <> coalesce(sum(g.remaining), 0)
    """,
    "held_equals_backlog": """
        SELECT b.customer_id FROM books AS b LEFT JOIN fixes AS f
            ON f.customer_id = b.customer_id AND f.outcome = 'held'
        GROUP BY b.customer_id HAVING b.held <> count(f.fix_id)
    """,
    "nothing_stuck": """
        SELECT charge_id || ' has an attempt without an answer since ' || started_at
        FROM attempts WHERE answered_at IS NULL
            AND started_at < now() - CASE WHEN code = 'processing'
                THEN interval '21 days' ELSE interval '3 days' END
        UNION ALL
        SELECT refund_id || ' is requested since ' || started_at
        FROM refunds WHERE status = 'requested' AND started_at < now() - interval '3 days'
        UNION ALL
        SELECT event_id || ' waits since ' || received_at
        FROM stripe_events WHERE due_at IS NOT NULL AND received_at < now() - interval '3 days'
    """,
    "usage_equals_ledger": """
        SELECT customer_id || ' ' || cycle_start::date || ' ' || repository FROM (
            SELECT customer_id, cycle_start, day, repository,
                credited, charged, held, reverted, amount FROM usage
            UNION ALL
            SELECT customer_id, cycle_start, (deployed_at AT TIME ZONE 'UTC')::date, repository,
                -count(*) FILTER (WHERE outcome = 'credited'),
                -count(*) FILTER (WHERE outcome = 'charged'),
                -count(*) FILTER (WHERE outcome = 'held'),
                -count(*) FILTER (WHERE outcome = 'reverted'),
                -coalesce(sum(price) FILTER (WHERE outcome = 'charged'), 0)
            FROM fixes GROUP BY 1, 2, 3, 4
        ) AS both_sides GROUP BY customer_id, cycle_start, day, repository
        HAVING (sum(credited), sum(charged), sum(held), sum(reverted), sum(amount))
            <> (0, 0, 0, 0, 0)
    """,
    "cycles_whole": """
        SELECT b.customer_id || ' has cycles ' || coalesce(string_agg(
            c.number || ' ' || c.status, ', ' ORDER BY c.number), 'no more')
        FROM books AS b LEFT JOIN (
            SELECT *, lag(ends_at) OVER (PARTITION BY customer_id ORDER BY number) AS last_end,
                row_number() OVER (PARTITION BY customer_id ORDER BY number) AS place FROM cycles
        ) AS c USING (customer_id)
        GROUP BY b.customer_id
        HAVING NOT coalesce(max(c.number) = b.cycle AND bool_and(
            c.number = c.place AND (c.last_end IS NULL OR c.last_end = c.starts_at)
            AND c.status = CASE WHEN c.number = b.cycle THEN 'open'
                WHEN c.number = b.cycle - 1 AND b.closing_start IS NOT NULL THEN 'closing'
                ELSE 'closed' END
            AND (c.number <> b.cycle OR (c.starts_at, c.ends_at) = (b.cycle_start, b.cycle_end))
            AND (c.status <> 'closing' OR c.starts_at = b.closing_start)
        ), false)
    """,
    "statements_equal_ledger": f"""
        SELECT customer_id || ' ' || number || ' ' || kind FROM (
            SELECT * FROM ({TOLD}) AS told
            UNION ALL
            SELECT customer_id, cycle, kind, -count(*), -sum(amount)
            FROM transfers JOIN statements USING (customer_id)
            WHERE cycle = number GROUP BY customer_id, cycle, kind
        ) AS both_sides GROUP BY customer_id, number, kind
        HAVING (sum(transfers), sum(amount)) <> (0, 0)
        UNION ALL
        SELECT customer_id || ' ' || number || ' ' || account FROM (
            SELECT customer_id, number, account, balance::bigint,
                coalesce((body -> 'balances_before' ->> account)::bigint, 0) AS before,
                coalesce(lag(balance::bigint) OVER (
                    PARTITION BY customer_id, account ORDER BY number), 0) AS last
            FROM statements, jsonb_each_text(body -> 'balances') AS told (account, balance)
        ) AS chained LEFT JOIN (
            SELECT customer_id, cycle AS number, account, sum(change) AS change
            FROM ({CHANGES}) AS changes GROUP BY customer_id, cycle, account
        ) AS moved USING (customer_id, number, account)
        WHERE before <> last OR balance <> before + coalesce(change, 0)
        UNION ALL
        SELECT customer_id || ' ' || number FROM cycles
        FULL JOIN statements USING (customer_id, number)
        WHERE (stated_at IS NULL) <> (body IS NULL)
    """,  # noqa: S608
}


class Audit(NamedTuple):
    """All checks of one moment, and the digest of all chains at it."""

    checks: list[Check]
    fingerprint: str


def verify(engine: Engine, stripe: StripeGateway | None) -> list[Check]:
    return audit(engine, stripe).checks


def audit(engine: Engine, stripe: StripeGateway | None) -> Audit:
    """Over one snapshot. Without Stripe its check is left out."""
    fingerprint = sha256()
    with moment(engine) as tx:
        checks = [check(name, tx.scalars(text(query))) for name, query in QUERIES.items()]
        checks.append(check("chain_whole", broken_chains(tx, fingerprint)))
        before = collected(tx)
    if stripe is not None:
        seen = stripe_truth(stripe)
        with engine.begin() as tx:
            after = collected(tx)
        checks.append(check("money_equals_stripe", differences(before, seen, after)))
    return Audit(checks, fingerprint.hexdigest())


def broken_chains(tx: Connection, fingerprint: Digest) -> Iterator[str]:
    for each in breaks(noting_heads(ledger_in_order(tx), fingerprint)):
        where = f"its head, after {each.seq}" if each.at_head else each.seq
        yield f"{each.customer_id} at {where}"


def check(name: str, offenders: Iterable[str]) -> Check:
    found = [str(each) for each in offenders]
    return Check(name, not found, found[:SHOWN_MAX])
