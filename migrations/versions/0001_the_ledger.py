"""The ledger, the books, and everything that is known of fixes, charges and customers."""

from collections.abc import Mapping, Sequence
from typing import Any

from alembic import op

from worker.billing import charges, cycles, orders, refunds, top_ups
from worker.storage.tables import metadata

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

WORKER = "fixbill_worker"
API = "fixbill_api"
OPS = "fixbill_ops"

# Rows that are never changed nor removed; a mistake is corrected by a new row.
APPEND_ONLY = ("transfers", "events", "claims", "statements")

FUNCTIONS = (
    "refuse_to_rewrite_history",
    "refuse_to_change_a_frozen_charge",
    "refuse_lines_of_a_frozen_charge",
    "refuse_moves_of_frozen_lines",
    "refuse_a_transition",
    "refuse_transfers_of_a_closed_cycle",
    "refuse_to_change_a_closed_cycle",
)

# What each role may do. The worker changes state, never history.
WORKER_MAY = {
    "SELECT, INSERT": (*APPEND_ONLY,),
    "SELECT, INSERT, UPDATE": (
        "customers",
        "books",
        "cycles",
        "clock",
        "grants",
        "fixes",
        "charges",
        "attempts",
        "collecting",
        "fees_read",
        "refunds",
        "disputes",
        "subscriptions",
        "subscription_orders",
        "top_ups",
        "invoices",
        "drifts",
        "stripe_events",
        "usage",
        "quarantine",
        "api_keys",
        "producer_keys",
        "contests",
    ),
    "SELECT, INSERT, UPDATE, DELETE": ("entry_tries", "waiting_fixes", "parked_entries"),
}
API_MAY = {
    "SELECT": (
        "customers",
        "books",
        "cycles",
        "statements",
        "grants",
        "fixes",
        "events",
        "transfers",
        "charges",
        "charge_lines",
        "attempts",
        "refunds",
        "disputes",
        "subscriptions",
        "invoices",
        "usage",
        "waiting_fixes",
        "parked_entries",
        "quarantine",
        "contests",
        "api_keys",
    ),
    "INSERT": ("stripe_events", "parked_entries", "contests"),
}
# The operator's page looks over all customers, and changes nothing.
OPS_MAY = {
    "SELECT": (
        "customers",
        "books",
        "cycles",
        "statements",
        "charges",
        "attempts",
        "refunds",
        "disputes",
        "top_ups",
        "subscription_orders",
        "stripe_events",
        "waiting_fixes",
        "parked_entries",
        "quarantine",
        "contests",
        "drifts",
        "collecting",
        "clock",
        "fixes",
        "events",
        "grants",
        "transfers",
    ),
}
# Rows of one customer, which the API role sees only after naming that customer.
PER_CUSTOMER = (
    "customers",
    "books",
    "cycles",
    "statements",
    "grants",
    "fixes",
    "events",
    "transfers",
    "charges",
    "charge_lines",
    "attempts",
    "refunds",
    "disputes",
    "subscriptions",
    "invoices",
    "usage",
    "waiting_fixes",
    "parked_entries",
    "quarantine",
    "contests",
)


def upgrade() -> None:
    metadata.create_all(op.get_bind())
    create_roles()
    keep_history()
    keep_frozen_charges()
    keep_new_lines_off_frozen_charges()
    keep_frozen_lines()
    allow_transitions("charges", charges.TRANSITIONS)
    allow_transitions("refunds", refunds.TRANSITIONS)
    allow_transitions("cycles", cycles.TRANSITIONS)
    allow_transitions("top_ups", top_ups.TRANSITIONS)
    allow_transitions("subscription_orders", orders.TRANSITIONS)
    keep_closed_cycles()
    separate_customers()


def create_roles() -> None:
    """Roles belong to the whole server, so another database may have made them before."""
    # COPY refuses tables with row-level security, so the worker, who serves everyone, is exempt.
    for role, exempt in ((WORKER, "BYPASSRLS"), (API, "NOBYPASSRLS"), (OPS, "BYPASSRLS")):
        op.execute(
            f"DO $$ BEGIN CREATE ROLE {role} NOLOGIN {exempt}; "
            "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        )
    for role, may in ((WORKER, WORKER_MAY), (API, API_MAY), (OPS, OPS_MAY)):
        op.execute(f"GRANT USAGE ON SCHEMA public TO {role}")
        for privileges, names in may.items():
            op.execute(f"GRANT {privileges} ON {', '.join(names)} TO {role}")
    op.execute(f"GRANT SELECT, INSERT ON charge_lines TO {WORKER}")
    op.execute(f"GRANT UPDATE (removed_at, charge_id) ON charge_lines TO {WORKER}")
    op.execute(f"GRANT SELECT ON alembic_version TO {WORKER}, {API}, {OPS}")
    # Not inherited: the API sees over all customers only where it says SET LOCAL ROLE.
    op.execute(f"GRANT {OPS} TO {API} WITH INHERIT FALSE, SET TRUE")
    # ON CONFLICT needs to read the key it arbitrates on.
    op.execute(f"GRANT SELECT (event_id) ON stripe_events TO {API}")
    op.execute(f"GRANT UPDATE (last_used_at) ON api_keys TO {API}")
    # For the link on which a customer adds a card.
    op.execute(f"GRANT UPDATE (stripe_customer) ON customers TO {API}")


def keep_history() -> None:
    """The owner is bound too: these refuse whoever asks."""
    op.execute(
        """
        CREATE FUNCTION refuse_to_rewrite_history() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% is append-only; correct a mistake by a reversing row', TG_TABLE_NAME
                USING ERRCODE = 'insufficient_privilege';
        END $$
        """
    )
    for name in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {name} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_rewrite_history()"
        )


def keep_frozen_charges() -> None:
    """Once frozen, a charge keeps its amount."""
    op.execute(
        """
        CREATE FUNCTION refuse_to_change_a_frozen_charge() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF (OLD.amount, OLD.asked_amount, OLD.currency)
                <> (NEW.amount, NEW.asked_amount, NEW.currency)
            THEN
                RAISE EXCEPTION 'charge % is %: its amount is fixed for ever',
                    OLD.charge_id, OLD.status USING ERRCODE = 'check_violation';
            END IF;
            RETURN NEW;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER frozen BEFORE UPDATE ON charges FOR EACH ROW WHEN (OLD.status <> 'open') "
        "EXECUTE FUNCTION refuse_to_change_a_frozen_charge()"
    )


def keep_new_lines_off_frozen_charges() -> None:
    """Lines come only to an open charge."""
    op.execute(
        """
        CREATE FUNCTION refuse_lines_of_a_frozen_charge() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF EXISTS (SELECT FROM lines JOIN charges USING (customer_id, charge_id)
                       WHERE charges.status <> 'open')
            THEN
                RAISE EXCEPTION 'the lines of a charge that is no longer open are fixed for ever'
                    USING ERRCODE = 'check_violation';
            END IF;
            RETURN NULL;
        END $$
        """
    )
    # One look per statement, not per line: a batch appends hundreds.
    op.execute(
        "CREATE TRIGGER frozen_insert AFTER INSERT ON charge_lines REFERENCING NEW TABLE AS lines "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_lines_of_a_frozen_charge()"
    )


def keep_frozen_lines() -> None:
    """Lines leave only an open charge, or one that is being withdrawn."""
    op.execute(
        """
        CREATE FUNCTION refuse_moves_of_frozen_lines() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF EXISTS (
                SELECT FROM lines JOIN old_lines USING (customer_id, fix_id)
                JOIN charges AS was ON was.customer_id = old_lines.customer_id
                    AND was.charge_id = old_lines.charge_id
                JOIN charges AS now ON now.customer_id = lines.customer_id
                    AND now.charge_id = lines.charge_id
                WHERE NOT (was.status IN ('open', 'withdrawing')
                        OR was.status = 'void' AND was.dropped = was.amount)
                    OR (lines.charge_id <> old_lines.charge_id AND now.status <> 'open')
            ) THEN
                RAISE EXCEPTION 'the lines of a charge that is no longer open are fixed for ever'
                    USING ERRCODE = 'check_violation';
            END IF;
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER frozen_update AFTER UPDATE ON charge_lines "
        "REFERENCING OLD TABLE AS old_lines NEW TABLE AS lines "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_moves_of_frozen_lines()"
    )


def keep_closed_cycles() -> None:
    """What a closed cycle's statement says can never become wrong."""
    op.execute(
        """
        CREATE FUNCTION refuse_transfers_of_a_closed_cycle() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF EXISTS (
                SELECT FROM (SELECT DISTINCT customer_id, cycle FROM lines) AS counted
                JOIN cycles ON cycles.customer_id = counted.customer_id
                    AND cycles.number = counted.cycle
                WHERE cycles.status = 'closed'
            ) THEN
                RAISE EXCEPTION 'nothing more goes into a cycle that is closed'
                    USING ERRCODE = 'check_violation';
            END IF;
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        """
        CREATE FUNCTION refuse_to_change_a_closed_cycle() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF (to_jsonb(OLD) - 'stated_at') <> (to_jsonb(NEW) - 'stated_at') THEN
                RAISE EXCEPTION 'cycle % of % is closed: it stays as its statement says',
                    OLD.number, OLD.customer_id USING ERRCODE = 'check_violation';
            END IF;
            RETURN NEW;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER closed BEFORE UPDATE ON cycles FOR EACH ROW WHEN (OLD.status = 'closed') "
        "EXECUTE FUNCTION refuse_to_change_a_closed_cycle()"
    )
    op.execute(
        "CREATE TRIGGER closed_cycle AFTER INSERT ON transfers REFERENCING NEW TABLE AS lines "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_transfers_of_a_closed_cycle()"
    )


def allow_transitions(table: str, transitions: Mapping[Any, Sequence[str]]) -> None:
    """The table of states, a second time; a state that leads nowhere is final."""
    op.execute(
        """
        CREATE OR REPLACE FUNCTION refuse_a_transition() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% may not go from % to %', TG_TABLE_NAME, OLD.status, NEW.status
                USING ERRCODE = 'check_violation';
        END $$
        """
    )
    allowed = [(old, new) for old, others in transitions.items() for new in others]
    pairs = ", ".join(f"('{old}', '{new}')" for old, new in allowed)
    op.execute(
        f"CREATE TRIGGER transitions BEFORE UPDATE ON {table} FOR EACH ROW "
        f"WHEN (OLD.status <> NEW.status AND (OLD.status, NEW.status) NOT IN ({pairs})) "
        "EXECUTE FUNCTION refuse_a_transition()"
    )


def separate_customers() -> None:
    """Row-level security: without a named customer the API role sees nothing."""
    for name in PER_CUSTOMER:
        op.execute(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY own_rows ON {name} FOR SELECT TO {API} "
            "USING (customer_id = current_setting('fixbill.customer_id', true))"
        )
    op.execute(
        f"CREATE POLICY own_row ON customers FOR UPDATE TO {API} "
        "USING (customer_id = current_setting('fixbill.customer_id', true))"
    )
    op.execute(
        f"CREATE POLICY own_word ON contests FOR INSERT TO {API} "
        "WITH CHECK (customer_id = current_setting('fixbill.customer_id', true))"
    )
    op.execute(f"CREATE POLICY parking ON parked_entries FOR INSERT TO {API} WITH CHECK (true)")


def downgrade() -> None:
    metadata.drop_all(op.get_bind())
    for name in FUNCTIONS:
        op.execute(f"DROP FUNCTION {name}()")
    # The roles stay: other databases of the server may use them.
