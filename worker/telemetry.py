"""Metrics and logs: every name in one place.

No label may hold a customer, an event or a Stripe id: series must not grow with customers.
The Prometheus reader counts per process, so it is exact with threads and wrong after a fork.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from time import perf_counter
from typing import TypeVar

import structlog
from opentelemetry import metrics, propagate, trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest, start_http_server

from schemas.inbox import Entry
from worker.billing.journal import Journal

SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]

Source = TypeVar("Source")

LINKS_MAX = 128  # OpenTelemetry's own limit of links on a span

meter = metrics.get_meter("fixbill")
tracer = trace.get_tracer("fixbill")

events_settled = meter.create_counter(
    "fixbill.events.settled", description="Events taken from the inbox, by what became of them"
)
events_accepted = meter.create_counter(
    "fixbill.events.accepted", description="Events taken in by this process, by door and result"
)
fixes_released = meter.create_counter(
    "fixbill.fixes.released", description="Held fixes that were paid later, by outcome"
)
quarantined = meter.create_counter(
    "fixbill.quarantined", description="Entries put in quarantine, by reason"
)
entries_lost = meter.create_counter(
    "fixbill.inbox.lost", description="Entries deleted from the inbox before they were read"
)
settle_duration = meter.create_histogram(
    "fixbill.settle.duration", unit="s", description="One batch, from reading to commit"
)
settled_latency = meter.create_histogram(
    "fixbill.settled.latency", unit="s", description="From accepted by the inbox to settled"
)
charge_attempts = meter.create_counter(
    "fixbill.charge.attempts", description="Attempts to collect a charge, by Stripe's answer"
)
breaker_trips = meter.create_counter(
    "fixbill.breaker.trips", description="Bounds on collecting that were reached, by bound"
)
refunds = meter.create_counter(
    "fixbill.refunds", description="What Stripe said to refunds, by where they stand then"
)
disputes = meter.create_counter(
    "fixbill.disputes", description="Disputes that moved, by where the money is then"
)
unapplied_payments = meter.create_counter(
    "fixbill.unapplied.payments", description="Payments that no charge of ours explains"
)
drifts = meter.create_counter(
    "fixbill.drifts", description="Differences from Stripe's lists, by kind and what came of them"
)
contests = meter.create_counter(
    "fixbill.contests", description="Fixes that customers contest, by opened, accepted or rejected"
)
stripe_duration = meter.create_histogram(
    "fixbill.stripe.duration", unit="s", description="One call to Stripe, by call and answer"
)
swept = meter.create_counter(
    "fixbill.due.done", description="Due rows that were dealt with, by kind and result"
)


def serve_metrics(process: str, port: int | None, host: str) -> None:
    """Measure from now on; with a port, let Prometheus read it there."""
    resource = Resource.create({"service.name": "fixbill", "service.instance.id": process})
    views = [
        View(instrument_name=name, aggregation=ExplicitBucketHistogramAggregation(SECONDS))
        for name in (
            "fixbill.settle.duration",
            "fixbill.settled.latency",
            "fixbill.stripe.duration",
        )
    ]
    reader = PrometheusMetricReader()
    metrics.set_meter_provider(MeterProvider([reader], resource=resource, views=views))
    trace.set_tracer_provider(TracerProvider(resource=resource))
    if port:
        start_http_server(port, host)


def exposition() -> tuple[bytes, str]:
    """What Prometheus would read now, and its media type."""
    return generate_latest(), CONTENT_TYPE_LATEST


def observe(
    name: str, description: str, unit: str, read: Callable[[Source], float], source: Source
) -> None:
    """A gauge that is read when Prometheus asks; a failing source leaves it out."""

    def observation(_: CallbackOptions) -> Iterable[Observation]:
        try:
            return [Observation(read(source))]
        except Exception:
            structlog.get_logger().warning("gauge_unreadable", gauge=name, exc_info=True)
            return []

    meter.create_observable_gauge(name, [observation], unit=unit, description=description)


def settled(journal: Journal, entries: Sequence[Entry], seconds: float, now: datetime) -> None:
    """Count a batch, after its commit. `now` is wall time."""
    settle_duration.record(seconds)
    for outcome, count in journal.tally.items():
        events_settled.add(count, {"outcome": outcome})
    for outcome, count in journal.released.items():
        fixes_released.add(count, {"outcome": outcome})
    for refused in journal.quarantined:
        quarantined.add(1, {"reason": refused.reason})
    for entry in entries:
        settled_latency.record(max(0.0, (now - entry.accepted_at).total_seconds()))


@contextmanager
def stripe_call(call: str) -> Iterator[dict[str, str]]:
    """Time one call; the caller puts the answer's kind into the dict it is given."""
    labels = {"call": call, "answer": "unknown"}
    started = perf_counter()
    try:
        yield labels
    finally:
        stripe_duration.record(perf_counter() - started, labels)


@contextmanager
def span(name: str, parent: Mapping[str, str] | None = None) -> Iterator[None]:
    """A span, continuing the trace in these HTTP headers if they name one."""
    context = propagate.extract(parent) if parent is not None else None
    with tracer.start_as_current_span(name, context):
        yield


@contextmanager
def batch_span(name: str, traceparents: Iterable[str | None]) -> Iterator[None]:
    """A span of its own, linked to the trace of every event in the batch."""
    links = []
    for traceparent in islice((each for each in traceparents if each), LINKS_MAX):
        carried = propagate.extract({"traceparent": traceparent})
        links.append(trace.Link(trace.get_current_span(carried).get_span_context()))
    with tracer.start_as_current_span(name, links=links):
        yield


def current_traceparent() -> str | None:
    """What to send along, so that others can continue this trace."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier.get("traceparent")


def write_logs(level: str) -> None:
    """JSON lines on stderr, each with the trace it belongs to; also the warnings of libraries."""
    structlog.configure(
        processors=[*SAID, TRACEBACKS, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    warnings = logging.StreamHandler(sys.stderr)
    warnings.setLevel(logging.WARNING)
    warnings.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=SAID,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                TRACEBACKS,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[warnings])


# Without local variables: they hold keys, URLs with passwords, and customers' data.
TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def add_trace(
    _logger: object, _method: str, event: structlog.types.EventDict
) -> structlog.types.EventDict:
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        event["trace_id"] = trace.format_trace_id(span.trace_id)
        event["span_id"] = trace.format_span_id(span.span_id)
    return event


# What is said beside the event itself.
SAID: tuple[structlog.types.Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    add_trace,
)
