"""The tables, and the constraints that guard every rule about money a second time.

Keys begin with `customer_id`, so the tables can be partitioned by it. The tables that every fix
writes to carry no foreign keys: a batch writes only for customers whose book it has locked, and the
look-up per row would cost more than the row.
"""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from worker.billing.charges import FINAL, IN_FLIGHT, ChargeStatus, Why
from worker.billing.cycles import CycleStatus
from worker.billing.disputes import Funds
from worker.billing.fix import FixOutcome
from worker.billing.ledger import ACCOUNTS, CREDIT, CREDIT_ACCOUNTS, MONEY_ACCOUNTS, MOVEMENTS
from worker.billing.orders import OrderStatus, Wish
from worker.billing.refunds import RefundStatus
from worker.billing.top_ups import TopUpStatus

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "ck": "%(table_name)s_%(constraint_name)s",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    }
)


def moment(name: str, nullable: bool = False) -> "Column[object]":
    return Column(name, DateTime(timezone=True), nullable=nullable)


def words(values: object) -> str:
    """A list of SQL literals; the values are our own constants."""
    return ", ".join(f"'{value}'" for value in values)  # type: ignore[attr-defined]


def customer(primary_key: bool = False) -> "Column[str]":
    return Column("customer_id", Text, primary_key=primary_key, nullable=False)


customers = Table(
    "customers",
    metadata,
    customer(primary_key=True),
    Column("name", Text),
    Column("email", Text),
    Column("stripe_customer", Text, unique=True),
    Column("payment_method", Text),
    Column("livemode", Boolean, nullable=False),
    moment("created_at"),
    moment("erased_at", nullable=True),
    CheckConstraint("erased_at IS NULL OR (name IS NULL AND email IS NULL)", name="erased_whole"),
    CheckConstraint(r"customer_id ~ '^[A-Za-z0-9._:-]{1,128}$'", name="id_is_plain"),
)

# The row that is locked before anything else of a customer is read for a decision.
books = Table(
    "books",
    metadata,
    Column("customer_id", Text, ForeignKey(customers.c.customer_id), primary_key=True),
    Column("plan", Text, nullable=False),
    Column("plan_version", Date, nullable=False),
    Column("currency", Text, nullable=False),
    Column("has_payment_method", Boolean, nullable=False, server_default="false"),
    Column("past_due", Boolean, nullable=False, server_default="false"),
    moment("parked_at", nullable=True),
    Column("parked_why", Text),
    moment("released_at", nullable=True),  # wall time
    Column("spending_cap", BigInteger),
    Column("spent", BigInteger, nullable=False, server_default="0"),
    moment("accepted_held_until", nullable=True),
    moment("accepted_at", nullable=True),  # of the newest entry that was settled for them
    Column("clock_offset", Interval, nullable=False, server_default="0"),
    moment("due_at"),  # wall time; when time next changes something
    Column("cycle", Integer, nullable=False, server_default="1"),
    moment("cycle_start"),
    moment("cycle_end"),
    moment("closing_start", nullable=True),
    Column("subscription_id", Text),
    Column("subscription_status", Text),
    moment("anchor", nullable=True),
    moment("paid_until", nullable=True),
    Column("ends_with_period", Boolean, nullable=False, server_default="false"),
    Column("held", Integer, nullable=False, server_default="0"),
    Column("seq", BigInteger, nullable=False, server_default="0"),
    Column("head", LargeBinary, nullable=False),
    *(Column(name, BigInteger, nullable=False, server_default="0") for name in ACCOUNTS),
    CheckConstraint("held >= 0 AND seq >= 0 AND spent >= 0", name="counts_not_negative"),
    CheckConstraint("octet_length(head) = 32", name="head_is_a_hash"),
    CheckConstraint("credits >= 0 AND consumed >= 0 AND expired >= 0", name="credits_not_negative"),
    # Cash has no floor: Stripe may take back more than it has just paid.
    CheckConstraint(
        "receivable >= 0 AND unapplied <= 0 AND refunded >= 0 AND disputed >= 0 AND fees >= 0",
        name="money_within_bounds",
    ),
    CheckConstraint("(parked_at IS NULL) = (parked_why IS NULL)", name="parked_says_why"),
    CheckConstraint("spending_cap >= 0", name="cap_not_negative"),
    CheckConstraint(
        "cycle > 0 AND closing_start < cycle_start AND cycle_start < cycle_end",
        name="cycles_in_order",
    ),
    CheckConstraint(
        "(subscription_id IS NULL) = (anchor IS NULL)"
        " AND (subscription_id IS NOT NULL OR paid_until IS NULL AND NOT ends_with_period)",
        name="subscription_whole",
    ),
    Index("books_due_idx", "due_at"),
    # Of few customers, whom sweeps and gauges would else look for among all.
    Index("books_ahead_idx", "clock_offset", postgresql_where=text("clock_offset > '0'")),
    Index("books_held_idx", "customer_id", postgresql_where=text("held > 0")),
    Index("books_parked_idx", "parked_at", postgresql_where=text("parked_at IS NOT NULL")),
    CheckConstraint(" + ".join(CREDIT_ACCOUNTS) + " = 0", name="credits_balance"),
    CheckConstraint(" + ".join(MONEY_ACCOUNTS) + " = 0", name="money_balances"),
)

grants = Table(
    "grants",
    metadata,
    Column("customer_id", Text, ForeignKey(books.c.customer_id), primary_key=True),
    Column("grant_id", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("granted", BigInteger, nullable=False),
    Column("remaining", BigInteger, nullable=False),
    moment("expires_at", nullable=True),
    moment("recorded_at"),
    Column("rolls_max", BigInteger, nullable=False, server_default="0"),
    Column("origin", Text),
    moment("first_expired_at", nullable=True),
    # For an index: Postgres updates a row in place unless something changes that an index names.
    Column("has_credits", Boolean, Computed("remaining > 0", persisted=True)),
    CheckConstraint("rolls_max >= 0", name="rolls_not_negative"),
    CheckConstraint("first_expired_at < expires_at", name="reopened_for_longer"),
    CheckConstraint("granted > 0 AND remaining BETWEEN 0 AND granted", name="remaining_in_grant"),
    Index("grants_usable_idx", "customer_id", postgresql_where=text("has_credits")),
)

# Numbered from 1, and each begins where the one before ended: no gap, no overlap.
cycles = Table(
    "cycles",
    metadata,
    Column("customer_id", Text, ForeignKey(books.c.customer_id), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("follows", Integer),
    moment("starts_at"),
    moment("ends_at"),
    Column("status", Text, nullable=False),
    Column("first_seq", BigInteger, nullable=False, server_default="1"),
    Column("last_seq", BigInteger),
    moment("closed_at", nullable=True),
    moment("stated_at", nullable=True),
    CheckConstraint("number > 0 AND starts_at < ends_at", name="in_order"),
    CheckConstraint("follows IS NOT DISTINCT FROM NULLIF(number - 1, 0)", name="follows_the_last"),
    CheckConstraint(f"status IN ({words(CycleStatus)})", name="status_known"),
    CheckConstraint(
        "(status = 'closed') = (closed_at IS NOT NULL)"
        " AND (status = 'closed') = (last_seq IS NOT NULL)",
        name="closed_once",
    ),
    CheckConstraint("stated_at IS NULL OR status = 'closed'", name="stated_when_closed"),
    UniqueConstraint("customer_id", "number", "ends_at"),
    ForeignKeyConstraint(
        ["customer_id", "follows", "starts_at"],
        ["cycles.customer_id", "cycles.number", "cycles.ends_at"],
    ),
    *(
        Index(
            f"cycles_one_{status}_key",
            "customer_id",
            unique=True,
            postgresql_where=text(f"status = '{status}'"),
        )
        for status in (CycleStatus.OPEN, CycleStatus.CLOSING)
    ),
    Index(
        "cycles_unstated_idx",
        "closed_at",
        "customer_id",
        "number",
        postgresql_where=text("status = 'closed' AND stated_at IS NULL"),
    ),
)

# A closed cycle as the customer was told of it; its number is the cycle's.
statements = Table(
    "statements",
    metadata,
    Column("customer_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("body", JSONB, nullable=False),
    moment("recorded_at"),
    ForeignKeyConstraint(["customer_id", "number"], ["cycles.customer_id", "cycles.number"]),
)

# One row: how far the business clock of the whole stack is ahead of the wall's.
clock = Table(
    "clock",
    metadata,
    Column("one", Boolean, primary_key=True),
    Column("ahead", Interval, nullable=False),
    CheckConstraint("one", name="one_row"),
)

fixes = Table(
    "fixes",
    metadata,
    customer(primary_key=True),
    Column("fix_id", Text, primary_key=True),
    Column("outcome", Text, nullable=False),
    Column("held_why", Text),
    Column("repository", Text, nullable=False),
    Column("commit_sha", Text, nullable=False),
    Column("pull_request", Integer),
    Column("finding", Text),
    moment("deployed_at"),
    moment("recorded_at"),
    moment("settled_at", nullable=True),
    moment("cycle_start"),
    Column("late", Boolean, nullable=False),
    Column("plan", Text, nullable=False),
    Column("plan_version", Date, nullable=False),
    Column("price", BigInteger),
    Column("currency", Text),
    Column("grant_id", Text),
    Column("charge_id", Text),
    Column("source", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Index(None, "customer_id", "deployed_at", "fix_id"),
    CheckConstraint(f"outcome IN ({words(FixOutcome)})", name="outcome_known"),
    CheckConstraint("outcome <> 'credited' OR grant_id IS NOT NULL", name="credited_by_a_grant"),
    CheckConstraint(
        "outcome <> 'charged' OR (charge_id IS NOT NULL AND currency IS NOT NULL"
        " AND price IS NOT NULL AND price > 0)",
        name="charged_at_a_price",
    ),
    CheckConstraint(
        "(outcome = 'held') = (held_why IS NOT NULL) AND (outcome = 'held') = (settled_at IS NULL)",
        name="held_says_why",
    ),
    CheckConstraint("grant_id IS NULL OR charge_id IS NULL", name="paid_one_way"),
    Index(
        "fixes_held_idx",
        "customer_id",
        "deployed_at",
        "fix_id",
        postgresql_where=text("outcome = 'held'"),
    ),
)

events = Table(
    "events",
    metadata,
    customer(primary_key=True),
    Column("source", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("fix_id", Text, nullable=False),
    Column("body_hash", LargeBinary, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("door", Text, nullable=False),
    Column("key_id", Text),  # of the producer who signed it
    Column("traceparent", Text),
    moment("happened_at"),
    moment("accepted_at"),
    moment("recorded_at"),
    CheckConstraint("octet_length(body_hash) = 32", name="body_hash_is_a_hash"),
    Index(None, "customer_id", "fix_id"),
)

claims = Table(
    "claims",
    metadata,
    Column("fix_id", Text, primary_key=True),
    customer(),
)

transfers = Table(
    "transfers",
    metadata,
    customer(primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("from_account", Text, nullable=False),
    Column("to_account", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("source_key", Text, nullable=False),
    Column("fix_id", Text),
    Column("grant_id", Text),
    Column("charge_id", Text),
    Column("cycle", Integer, nullable=False),
    moment("happened_at"),
    moment("recorded_at"),
    Column("hash", LargeBinary, nullable=False),
    UniqueConstraint("customer_id", "kind", "source_key"),
    Index(
        "transfers_payments_idx",
        "source_key",
        postgresql_where=text("kind IN ('pay', 'unapplied_in')"),
    ),
    CheckConstraint("amount > 0", name="amount_above_zero"),
    CheckConstraint("seq > 0 AND octet_length(hash) = 32", name="chained"),
    CheckConstraint(
        "(kind, from_account, to_account) IN ("
        + ", ".join(f"('{kind}', '{a}', '{b}')" for kind, (a, b) in MOVEMENTS.items())
        + ")",
        name="movement_known",
    ),
    CheckConstraint(
        f"(unit = '{CREDIT}') = (from_account IN ({words(CREDIT_ACCOUNTS)}))",
        name="unit_fits_account",
    ),
)

LIVE = text(f"status NOT IN ({words(FINAL)})")

charges = Table(
    "charges",
    metadata,
    Column("customer_id", Text, ForeignKey(books.c.customer_id), primary_key=True),
    Column("charge_id", Text, primary_key=True),
    Column("status", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    moment("opened_at"),
    moment("due_at", nullable=True),  # business time
    Column("due_why", Text, nullable=False, server_default="scheduled"),
    Column("applied", BigInteger, nullable=False, server_default="0"),
    Column("asked_amount", BigInteger, nullable=False, server_default="0"),
    Column("dropped", BigInteger, nullable=False, server_default="0"),
    Column("returned", BigInteger, nullable=False, server_default="0"),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("waits", Integer, nullable=False, server_default="0"),
    Column("write_off", Boolean, nullable=False, server_default="false"),
    moment("resume_at", nullable=True),
    moment("leased_until", nullable=True),  # wall time
    moment("frozen_at", nullable=True),
    moment("declined_at", nullable=True),
    moment("paid_at", nullable=True),
    Column("payment_intent", Text),
    CheckConstraint("amount >= 0 AND tries >= 0 AND waits >= 0", name="not_negative"),
    CheckConstraint(f"status IN ({words(ChargeStatus)})", name="status_known"),
    CheckConstraint(f"due_why IN ({words(Why)})", name="due_why_known"),
    CheckConstraint(
        "status IN ('open', 'void') OR (frozen_at IS NOT NULL AND amount > 0"
        " AND (asked_amount > 0 OR applied = amount))",
        name="frozen_once",
    ),
    CheckConstraint(
        "asked_amount BETWEEN 0 AND amount"
        " AND applied BETWEEN 0 AND amount AND dropped BETWEEN 0 AND amount"
        " AND (status IN ('paid', 'void') OR applied + dropped <= amount)",
        name="parts_within_amount",
    ),
    # More than was collected can never be returned.
    CheckConstraint("returned BETWEEN 0 AND asked_amount", name="returned_within_paid"),
    CheckConstraint("returned = 0 OR status = 'paid'", name="returned_when_paid"),
    CheckConstraint(
        "(status = 'paid') = (paid_at IS NOT NULL) "
        "AND (status <> 'paid' OR payment_intent IS NOT NULL OR applied = amount)",
        name="paid_by_a_payment",
    ),
    Index(
        "charges_one_open_key",
        "customer_id",
        unique=True,
        postgresql_where=text("status = 'open'"),
    ),
    Index(
        "charges_one_in_flight_key",
        "customer_id",
        unique=True,
        postgresql_where=text(f"status IN ({words(IN_FLIGHT)})"),
    ),
    Index("charges_live_idx", "customer_id", postgresql_where=LIVE),
    Index(None, "customer_id", "opened_at", "charge_id"),
    Index(
        "charges_paid_idx",
        "customer_id",
        "paid_at",
        postgresql_where=text("paid_at IS NOT NULL"),
    ),
    Index("charges_due_idx", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    Index(
        "charges_payment_intent_key",
        "payment_intent",
        unique=True,
        postgresql_where=text("payment_intent IS NOT NULL"),
    ),
)

charge_lines = Table(
    "charge_lines",
    metadata,
    customer(primary_key=True),
    # Without the charge in the key: a fix is charged once in its life.
    Column("fix_id", Text, primary_key=True),
    Column("charge_id", Text, nullable=False),
    Column("price", BigInteger, nullable=False),
    moment("added_at"),
    moment("removed_at", nullable=True),
    CheckConstraint("price > 0", name="price_above_zero"),
    Index(None, "customer_id", "charge_id"),
)

attempts = Table(
    "attempts",
    metadata,
    customer(),
    Column("attempt_id", Text, primary_key=True),
    Column("charge_id", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("why", Text, nullable=False),
    Column("parameters", JSONB, nullable=False),  # what is sent to Stripe, fixed before it is sent
    Column("payment_intent", Text),
    # Stripe's newest charge on that intent before this attempt; set once the intent is known.
    Column("charge_before", Text),
    Column("answer", Text),  # empty while the outcome is not known
    Column("code", Text),
    Column("message", Text),
    Column("livemode", Boolean, nullable=False),
    moment("started_at"),  # wall time
    moment("answered_at", nullable=True),
    ForeignKeyConstraint(
        ["customer_id", "charge_id"], ["charges.customer_id", "charges.charge_id"]
    ),
    UniqueConstraint("customer_id", "charge_id", "number"),
    Index(
        "attempts_one_under_way_key",
        "customer_id",
        "charge_id",
        unique=True,
        postgresql_where=text("answered_at IS NULL"),
    ),
    CheckConstraint("number > 0", name="number_above_zero"),
    CheckConstraint("(answer IS NULL) = (answered_at IS NULL)", name="answered_with_an_answer"),
    CheckConstraint(f"why IN ({words(Why)})", name="why_known"),
    Index(None, "started_at"),
)

# One row: whether cards are charged at all.
collecting = Table(
    "collecting",
    metadata,
    Column("one", Boolean, primary_key=True),
    moment("stopped_at", nullable=True),
    Column("stopped_why", Text),
    moment("started_at", nullable=True),
    CheckConstraint("one", name="one_row"),
    CheckConstraint("(stopped_at IS NULL) = (stopped_why IS NULL)", name="stopped_says_why"),
)

top_ups = Table(
    "top_ups",
    metadata,
    Column("customer_id", Text, ForeignKey(books.c.customer_id), primary_key=True),
    Column("top_up_id", Text, primary_key=True),
    Column("credits", BigInteger, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("status", Text, nullable=False),
    moment("requested_at"),  # wall time, as all of these
    moment("due_at", nullable=True),
    moment("leased_until", nullable=True),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("payment_intent", Text, unique=True),
    Column("message", Text),
    CheckConstraint("credits > 0 AND amount > 0 AND tries >= 0", name="above_zero"),
    CheckConstraint(f"status IN ({words(TopUpStatus)})", name="status_known"),
    CheckConstraint("(status = 'requested') = (due_at IS NOT NULL)", name="due_until_done"),
    CheckConstraint("status <> 'paid' OR payment_intent IS NOT NULL", name="paid_by_a_payment"),
    Index("top_ups_due_idx", "due_at", postgresql_where=text("due_at IS NOT NULL")),
)

# One row: up to when Stripe's fees have been read.
fees_read = Table(
    "fees_read",
    metadata,
    Column("one", Boolean, primary_key=True),
    moment("until"),
    CheckConstraint("one", name="one_row"),
)

# Money that goes back to a card: asked for by us, or seen at Stripe.
refunds = Table(
    "refunds",
    metadata,
    Column("customer_id", Text, ForeignKey(books.c.customer_id), primary_key=True),
    Column("refund_id", Text, primary_key=True),
    Column("charge_id", Text),  # empty: of a payment that no charge of ours explains
    Column("payment_intent", Text, nullable=False),
    Column("fix_id", Text),  # the one line it is for
    Column("amount", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("stripe_refund", Text, unique=True),
    Column("code", Text),
    Column("message", Text),
    moment("requested_at"),  # business time
    moment("started_at"),  # wall time
    moment("due_at", nullable=True),
    moment("leased_until", nullable=True),  # wall time
    Column("tried", Boolean, nullable=False, server_default="false"),  # it may have been sent
    Column("waits", Integer, nullable=False, server_default="0"),
    Column("from_unapplied", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("amount > 0 AND waits >= 0", name="amount_above_zero"),
    CheckConstraint("from_unapplied BETWEEN 0 AND amount", name="from_unapplied_within_amount"),
    CheckConstraint(f"status IN ({words(RefundStatus)})", name="status_known"),
    CheckConstraint(
        "status IN ('requested', 'refused') OR stripe_refund IS NOT NULL",
        name="returned_by_a_refund",
    ),
    ForeignKeyConstraint(
        ["customer_id", "charge_id"], ["charges.customer_id", "charges.charge_id"]
    ),
    Index(
        "refunds_one_per_fix_key",
        "customer_id",
        "fix_id",
        unique=True,
        postgresql_where=text("fix_id IS NOT NULL AND status NOT IN ('refused', 'failed')"),
    ),
    Index(None, "customer_id", "charge_id"),
    Index("refunds_due_idx", "due_at", postgresql_where=text("due_at IS NOT NULL")),
)

disputes = Table(
    "disputes",
    metadata,
    Column("customer_id", Text, ForeignKey(books.c.customer_id), primary_key=True),
    Column("dispute_id", Text, primary_key=True),
    Column("charge_id", Text),
    Column("payment_intent", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("status", Text, nullable=False),  # as Stripe says
    Column("funds", Text, nullable=False),  # where the money is
    Column("reason", Text),
    moment("opened_at"),
    moment("recorded_at"),
    CheckConstraint("amount > 0", name="amount_above_zero"),
    CheckConstraint(f"funds IN ({words(Funds)})", name="funds_known"),
    Index(None, "customer_id", "charge_id"),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("customer_id", Text, ForeignKey(books.c.customer_id), primary_key=True),
    Column("subscription_id", Text, primary_key=True),
    Column("status", Text, nullable=False),  # as Stripe says
    moment("period_start"),
    moment("period_end"),
    Column("cancel_at_period_end", Boolean, nullable=False),
    moment("anchor"),
    moment("ended_at", nullable=True),
    Column("order_id", Text),
    Column("invoice_id", Text),
    moment("recorded_at"),
)

subscription_orders = Table(
    "subscription_orders",
    metadata,
    Column("customer_id", Text, ForeignKey(books.c.customer_id), primary_key=True),
    Column("order_id", Text, primary_key=True),
    Column("wish", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("plan", Text),
    Column("plan_version", Date),
    Column("subscription_id", Text),
    moment("requested_at"),  # wall time, as all of these
    moment("due_at", nullable=True),
    moment("leased_until", nullable=True),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("message", Text),
    CheckConstraint(f"wish IN ({words(Wish)})", name="wish_known"),
    CheckConstraint(f"status IN ({words(OrderStatus)})", name="status_known"),
    CheckConstraint("(status = 'requested') = (due_at IS NOT NULL)", name="due_until_done"),
    CheckConstraint("(status = 'refused') = (message IS NOT NULL)", name="refused_says_why"),
    Index(
        "subscription_orders_one_requested_key",
        "customer_id",
        unique=True,
        postgresql_where=text("status = 'requested'"),
    ),
    Index("subscription_orders_due_idx", "due_at", postgresql_where=text("due_at IS NOT NULL")),
)

invoices = Table(
    "invoices",
    metadata,
    Column("customer_id", Text, ForeignKey(books.c.customer_id), primary_key=True),
    Column("invoice_id", Text, primary_key=True),
    Column("subscription_id", Text),
    Column("status", Text, nullable=False),  # as Stripe says
    Column("reason", Text),
    Column("amount", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("payment_intent", Text),
    moment("period_start"),
    moment("period_end"),
    moment("recorded_at"),
    CheckConstraint("amount >= 0", name="amount_not_negative"),
)

# What differs between our books and Stripe's lists and waits for a person.
drifts = Table(
    "drifts",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("subject", Text, primary_key=True),  # Stripe's id
    Column("customer_id", Text),
    Column("evidence", JSONB, nullable=False),
    moment("found_at"),
    moment("resolved_at", nullable=True),
)

stripe_events = Table(
    "stripe_events",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("object_id", Text),  # of what it is about
    Column("livemode", Boolean, nullable=False),
    Column("body", LargeBinary, nullable=False),  # the very bytes that were signed
    moment("received_at"),
    moment("due_at", nullable=True),  # empty once it is done
    moment("leased_until", nullable=True),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("result", Text),
    Index("stripe_events_due_idx", "due_at", postgresql_where=text("due_at IS NOT NULL")),
)

usage = Table(
    "usage",
    metadata,
    customer(primary_key=True),
    Column("cycle_start", DateTime(timezone=True), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("repository", Text, primary_key=True),
    *(
        Column(name, BigInteger, nullable=False, server_default="0")
        for name in (*FixOutcome, "amount")
    ),
    CheckConstraint(
        " AND ".join(f"{name} >= 0" for name in (*FixOutcome, "amount")), name="not_negative"
    ),
)

waiting_fixes = Table(
    "waiting_fixes",
    metadata,
    customer(primary_key=True),
    Column("source", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("entry_key", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("door", Text, nullable=False),
    Column("key_id", Text),
    Column("traceparent", Text),
    Column("body_hash", LargeBinary, nullable=False),
    moment("happened_at"),
    moment("accepted_at"),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("quarantine_id", Text, primary_key=True),
    Column("entry_key", Text, nullable=False, unique=True),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("door", Text, nullable=False),
    Column("key_id", Text),
    Column("signature", LargeBinary),  # for a replay to check
    Column("traceparent", Text),
    Column("customer_id", Text),
    Column("source", Text),
    Column("event_id", Text),
    moment("accepted_at"),
    moment("recorded_at"),
    moment("replayed_at", nullable=True),
    Index(None, "customer_id", "source", "event_id"),
    Index(None, "customer_id", "quarantine_id"),
    Index("quarantine_standing_idx", "recorded_at", postgresql_where=text("replayed_at IS NULL")),
)

# Entries that were alone in hand when a process died; see worker/settle.py.
entry_tries = Table(
    "entry_tries",
    metadata,
    Column("entry_key", Text, primary_key=True),
    Column("tries", Integer, nullable=False),
)

# What the HTTP door took in while Redis was away.
parked_entries = Table(
    "parked_entries",
    metadata,
    Column("entry_key", Text, primary_key=True),
    customer(),
    Column("body", LargeBinary, nullable=False),
    Column("door", Text, nullable=False),
    Column("traceparent", Text),
    moment("accepted_at"),
    Index(None, "customer_id", "accepted_at"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("secret_hash", LargeBinary, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("customer_ids", ARRAY(Text)),  # empty: every customer
    moment("created_at"),
    moment("expires_at", nullable=True),
    moment("revoked_at", nullable=True),
    moment("last_used_at", nullable=True),
    CheckConstraint("octet_length(secret_hash) = 32", name="secret_is_hashed"),
)

# Keys that sign what is put straight into the inbox: only the half that checks.
producer_keys = Table(
    "producer_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("public_key", LargeBinary, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("customer_ids", ARRAY(Text)),  # empty: every customer
    moment("created_at"),
    moment("expires_at", nullable=True),
    moment("revoked_at", nullable=True),
    moment("last_used_at", nullable=True),
    CheckConstraint("octet_length(public_key) = 32", name="public_key_is_ed25519"),
)

# What a customer says was wrong, and what the operator decided.
contests = Table(
    "contests",
    metadata,
    customer(primary_key=True),
    Column("contest_id", Text, primary_key=True),
    Column("fix_id", Text, nullable=False),
    Column("reason", Text, nullable=False),  # the customer's own words
    Column("idempotency_key", Text),
    moment("opened_at"),
    moment("decided_at", nullable=True),
    Column("decision", Text),
    Column("decided_why", Text),
    ForeignKeyConstraint(["customer_id", "fix_id"], ["fixes.customer_id", "fixes.fix_id"]),
    UniqueConstraint("customer_id", "idempotency_key"),
    CheckConstraint("decision IN ('accepted', 'rejected')", name="decision_known"),
    CheckConstraint("(decided_at IS NULL) = (decision IS NULL)", name="decided_with_a_decision"),
    Index(
        "contests_one_open_key",
        "customer_id",
        "fix_id",
        unique=True,
        postgresql_where=text("decided_at IS NULL"),
    ),
)
