"""Celery's side: tasks are doorbells and shells; the only file that imports celery.

No task carries an obligation. Whatever is lost, doubled or late here, the rows and the inbox say
what is due.
"""

from __future__ import annotations

import json
import os
import threading
import time
from base64 import b64decode
from re import fullmatch
from typing import Any

from celery import Celery, signals
from kombu.entity import Queue
from redis import Redis
from redis.exceptions import RedisError
from structlog import get_logger

from producers.publish import append, append_signed
from schemas.events import ID_PATTERN, BadEvent, parse_event
from schemas.inbox import partition_of
from worker import gauges, telemetry
from worker.due import DUE, Tools, sweep
from worker.inbox import Inbox
from worker.process import collect_garbage_seldom, open_tools
from worker.settings import MissingSetting, settings
from worker.settler import Settler, partitions_of

log = get_logger()

RING_SETTLERS = 5.0  # seconds; a settler that is holding its partitions ignores the bell
# A task that runs longer than any of its calls may take is stuck: the supervisor starts afresh.
STUCK_SECONDS = 120

app = Celery("fixbill", broker=settings().broker_url())
app.conf.update(
    task_serializer="json",
    accept_content=["json"],
    result_backend=None,
    task_ignore_result=True,
    timezone="UTC",
    worker_hijack_root_logger=False,
    worker_enable_remote_control=False,  # or whoever reaches the broker could shut workers down
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "visibility_timeout": 300,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_timeout": 5,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": 10,
    },
    # The default exchange needs no binding, so a flushed broker loses nothing it is told later.
    task_queues=[
        Queue(name, exchange="", routing_key=name) for name in ("settle", "sweep", "intake")
    ],
    task_default_queue="sweep",
    task_default_exchange="",
    task_default_routing_key="sweep",
    task_routes={
        "fixbill.settle": {"queue": "settle"},
        "fixbill.fix_deployed": {"queue": "intake"},
    },
    beat_schedule={
        f"settle {number}": {
            "task": "fixbill.settle",
            "schedule": RING_SETTLERS,
            "args": (number,),
            "options": {"expires": RING_SETTLERS},
        }
        for number in range(settings().settlers)
    }
    | {
        f"sweep {kind}": {
            "task": "fixbill.sweep",
            "schedule": due.every,
            "args": (kind,),
            "options": {"expires": max(due.every, 2)},
        }
        for kind, due in DUE.items()
    },
)


class Process:
    """What this worker process has opened, and whether it is to stop."""

    def __init__(self) -> None:
        self.tools: Tools | None = None
        self.settlers: dict[int, Settler] = {}
        self.stopping = threading.Event()
        self.running: dict[str, float] = {}  # task id → monotonic start, settling excepted

    def open(self) -> Tools:
        if self.tools is None:
            self.tools = open_tools(pool_size=16)
        return self.tools


process = Process()


@app.task(name="fixbill.settle")
def settle(settler: int) -> None:
    """A turn at the inbox; whoever held partitions rings for the next turn."""
    tools = process.open()
    if settler not in process.settlers:
        process.settlers[settler] = Settler(
            tools.engine, tools.redis, tools.clock, trust_redis=settings().trust_redis
        )
    mine = process.settlers[settler]
    held = mine.turn(partitions_of(settler, settings().settlers), process.stopping.is_set)
    if held and not process.stopping.is_set():
        settle.apply_async((settler,))


@app.task(name="fixbill.sweep")
def sweep_kind(kind: str) -> None:
    """Do what is due of one kind."""
    sweep(kind, process.open())


@app.task(name="fixbill.fix_deployed", acks_late=True, reject_on_worker_lost=True)
def fix_deployed(event: Any, key_id: Any = None, signature: Any = None) -> None:
    """The door for producers that speak Celery: the event goes to the inbox as it is.

    With a producer's key id and signature (base64) the event is the exact text that was signed;
    without, it is taken only where TRUST_REDIS is set. Acknowledged after that. Celery on Redis
    can still lose a message on its way here.
    """
    redis = process.open().redis
    if isinstance(event, str) and isinstance(key_id, str) and isinstance(signature, str):
        put_signed(redis, event, key_id, signature)
    else:
        append(redis, customer_in(event), json.dumps(event).encode(), None, "celery")


def put_signed(redis: Redis, text: str, key_id: str, signature: str) -> None:
    """Whatever it is: checking it is the settler's business."""
    body = text.encode("utf-8", "surrogatepass")
    try:
        customer_id = parse_event(body).customer_id
    except BadEvent:
        customer_id = ""
    proof = key_id.encode("ascii", "replace"), decoded(signature)
    append_signed(redis, partition_of(customer_id), body, None, "celery", proof)


def decoded(signature: str) -> bytes:
    """What is no base64 proves nothing, and stays to be seen."""
    try:
        return b64decode(signature, validate=True)
    except ValueError:
        return signature.encode("ascii", "replace")


def customer_in(event: Any) -> str:
    """As far as it can be read: reading it is the settler's business, refusing it too."""
    data = event.get("data") if isinstance(event, dict) else None
    named = data.get("customer_id") if isinstance(data, dict) else None
    return named if isinstance(named, str) and fullmatch(ID_PATTERN, named) else ""


@signals.setup_logging.connect
def log_as_json(**_: object) -> None:
    """Ours instead of Celery's; its warnings go the same way."""
    telemetry.write_logs(settings().log_level)


@signals.worker_init.connect
def begin(sender: Any, **_: object) -> None:
    """Refuse what would break a promise, before the first task.

    Celery logs what a receiver raises and goes on; only SystemExit ends the process.
    """
    if sender.pool_cls.__module__.startswith("celery.concurrency.prefork"):
        raise SystemExit("metrics count wrong in forked processes: start with --pool threads")
    try:
        tools = process.open()
    except MissingSetting as error:
        raise SystemExit(str(error)) from None
    telemetry.serve_metrics("worker", settings().metrics_port, settings().metrics_host)
    gauges.observe(tools)
    collect_garbage_seldom()
    threading.Thread(target=end_when_stuck, daemon=True).start()
    tell_weaknesses(tools)


def tell_weaknesses(tools: Tools) -> None:
    try:
        weaknesses = Inbox(tools.redis).weaknesses()
    except RedisError:
        log.warning("inbox_unreadable", exc_info=True)
        return
    for weakness in weaknesses:
        log.warning("inbox_store_is_weak", advice=weakness)


@signals.worker_ready.connect
def ring(**_: object) -> None:
    """Don't wait for beat."""
    for number in range(settings().settlers):
        settle.apply_async((number,))


@signals.worker_shutting_down.connect
def stop(**_: object) -> None:
    process.stopping.set()


@signals.task_prerun.connect
def note_start(task_id: str, task: Any, args: Any, **_: object) -> None:
    if task.name != settle.name and tuple(args) != ("reconcile",):  # Stripe's lists may be long
        process.running[task_id] = time.monotonic()


@signals.task_postrun.connect
def note_end(task_id: str, **_: object) -> None:
    process.running.pop(task_id, None)


def end_when_stuck() -> None:
    """Threads cannot be stopped from outside, so a stuck one takes the process with it."""
    while not process.stopping.wait(5):
        oldest = min(list(process.running.values()), default=None)
        if oldest is not None and time.monotonic() - oldest > STUCK_SECONDS:
            log.critical("task_stuck", seconds=round(time.monotonic() - oldest))
            os._exit(70)
