"""A settler: one process's hold on partitions of the inbox, for a turn at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Connection, Engine, delete, text
from sqlalchemy.dialects.postgresql import insert
from structlog import get_logger

from schemas.inbox import PARTITIONS, Entry
from worker import telemetry
from worker.billing.journal import Quarantined
from worker.clock import Clock
from worker.inbox import Inbox
from worker.settle import quarantine, settle, unsettleable
from worker.signatures import Trust
from worker.storage.engine import blames_the_data
from worker.storage.tables import entry_tries

log = get_logger()

BATCH = 2000  # entries; 1,000 at once settle a fifth slower, 4,000 hardly faster
TURN_SECONDS = 15
# An entry that was alone in hand at so many deaths of a process is not tried again.
DEATHS_MAX = 3
# A holder that was frozen loses its session, and with it its locks, after this much silence.
SILENCE_MAX = "30s"
LOCK = 0x46495842  # the class of our advisory locks; the partition is the second number


@dataclass(slots=True)
class Settler:
    """Lives as long as its process; every turn holds the partitions anew."""

    engine: Engine
    redis: Redis
    clock: Clock
    silence_max: str = SILENCE_MAX
    trust_redis: bool = False  # take what nobody signed
    survivors_settled: bool = False
    noted: set[str] = field(default_factory=set)  # entries whose try this process has counted

    def turn(self, partitions: Sequence[int], stopping: Callable[[], bool]) -> bool:
        """Hold the partitions for a turn and settle; False if others hold all of them."""
        with held_partitions(self.engine, partitions, self.silence_max) as (connection, held):
            if not held:
                return False
            inbox = Inbox(self.redis, held)
            try:
                if not self.survivors_settled:
                    self.settle_survivors(inbox, connection)
                    self.survivors_settled = True
                self.settle_until(inbox, connection, stopping)
            except Exception as error:
                # Nothing was acknowledged: the next turn finds the batch pending.
                log.warning("settling_interrupted", error=type(error).__name__, exc_info=True)
                connection.invalidate()
                time.sleep(1)
        return True

    def settle_until(
        self, inbox: Inbox, connection: Connection, stopping: Callable[[], bool]
    ) -> None:
        """Read, settle, acknowledge; whatever was delivered before comes first."""
        end = time.monotonic() + TURN_SECONDS
        delivered_before = True
        while time.monotonic() < end and not stopping():
            try:
                entries = inbox.pending(BATCH) if delivered_before else inbox.fresh(BATCH)
            except RedisError:
                # The reply may have been lost on its way: those entries are pending now.
                log.warning("inbox_unreadable", exc_info=True)
                delivered_before = True
                time.sleep(0.2)
                continue
            if entries:
                self.settle_divided(entries, connection)
                tell_of_lost(inbox.acknowledge(entries), entries)
            else:
                delivered_before = False
                stay_alive(connection)

    def settle_divided(
        self, entries: Sequence[Entry], connection: Connection, *, again: bool = False
    ) -> None:
        """Settle; where the data is to blame, halve until one entry stands alone.

        That one is tried a second time: what stood in its way may have been another's commit.
        """
        started = time.perf_counter()
        now = self.clock.now()
        try:
            with telemetry.batch_span("settle", (entry.traceparent for entry in entries)):
                trust = Trust(self.clock.wall(), unsigned=self.trust_redis)
                journal = settle(entries, connection, now, trust)
                log.info("batch_settled", entries=len(entries), **journal.tally)
        except Exception as error:
            if not blames_the_data(error):
                raise
            if len(entries) > 1:
                middle = len(entries) // 2
                self.settle_divided(entries[:middle], connection)
                self.settle_divided(entries[middle:], connection)
                return
            if not again:
                self.settle_divided(entries, connection, again=True)
                return
            log.error("entry_cannot_be_settled", entry=entries[0].key, exc_info=True)
            journal = quarantine(unsettleable(entries[0], error), connection, now)
        telemetry.settled(journal, entries, time.perf_counter() - started, self.clock.wall())

    def settle_survivors(self, inbox: Inbox, connection: Connection) -> None:
        """What was in hand when a process died is tried alone: it may have been the cause.

        Only a death is counted: the try is committed before it, and taken back after it.
        """
        while entries := inbox.pending(BATCH):
            for entry in entries:
                if self.deaths_with(entry, connection) >= DEATHS_MAX:
                    detail = f"the worker died {DEATHS_MAX} times with this entry in hand"
                    refused = Quarantined(entry, None, "kills_the_worker", detail)
                    journal = quarantine(refused, connection, self.clock.now())
                    telemetry.settled(journal, [entry], 0, self.clock.wall())
                else:
                    self.settle_divided([entry], connection)
                forget_tries(connection, entry)
                inbox.acknowledge([entry])

    def deaths_with(self, entry: Entry, connection: Connection) -> int:
        """How often a process died with it; a try this process has survived is no death."""
        if entry.key in self.noted:
            return 0
        self.noted.add(entry.key)
        return count_try(connection, entry) - 1


def tell_of_lost(lost: int, entries: Sequence[Entry]) -> None:
    """Whoever may append may also trim: that cannot be forbidden, so at least it is seen."""
    telemetry.entries_lost.add(lost)  # of 0, too: an alert does not see how a counter begins
    if lost:
        log.error("entries_deleted_unread", entries=lost, beside=entries[0].key)


def partitions_of(settler: int, settlers: int) -> range:
    return range(settler % settlers, PARTITIONS, settlers)


@contextmanager
def held_partitions(
    engine: Engine, partitions: Sequence[int], silence_max: str
) -> Iterator[tuple[Connection, list[int]]]:
    """Lock what nobody else holds, on the very connection that commits the batches."""
    with engine.connect() as connection:
        with connection.begin():
            connection.execute(text(f"SET idle_session_timeout = '{silence_max}'"))
            # Its statements are few and take arrays: planning them anew was 1 ms of every batch.
            connection.execute(text("SET plan_cache_mode = force_generic_plan"))
            # One that was made for an almost empty table reads all of it: not beyond this turn.
            connection.execute(text("DISCARD PLANS"))
            held = [number for number in partitions if lock(connection, number)]
        try:
            yield connection, held
        finally:
            if not connection.invalidated:
                with connection.begin():
                    connection.execute(text("SELECT pg_advisory_unlock_all()"))
                    connection.execute(text("RESET idle_session_timeout"))
                    connection.execute(text("RESET plan_cache_mode"))


def lock(connection: Connection, partition: int) -> bool:
    statement = text("SELECT pg_try_advisory_lock(:class, :partition)")
    return bool(connection.scalar(statement, {"class": LOCK, "partition": partition}))


def stay_alive(connection: Connection) -> None:
    """A word to Postgres, which would end a silent session."""
    with connection.begin():
        connection.execute(text("SELECT 1"))


def count_try(connection: Connection, entry: Entry) -> int:
    """Note that this entry is about to be tried alone; how often that has been noted now."""
    statement = insert(entry_tries).values(entry_key=entry.key, tries=1)
    with connection.begin():
        tries: int = connection.execute(
            statement.on_conflict_do_update(
                index_elements=["entry_key"], set_={"tries": entry_tries.c.tries + 1}
            ).returning(entry_tries.c.tries)
        ).scalar_one()
    return tries


def forget_tries(connection: Connection, entry: Entry) -> None:
    with connection.begin():
        connection.execute(delete(entry_tries).where(entry_tries.c.entry_key == entry.key))
