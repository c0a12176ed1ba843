"""Prints what Prometheus would read from a worker and the API, with every metric present.

Run as a program: a meter provider is set once per process.
"""

from __future__ import annotations

import sys

from opentelemetry.metrics import Counter, Histogram, UpDownCounter
from prometheus_client import generate_latest

from worker import telemetry
from worker.gauges import GAUGES


def record_every_instrument() -> None:
    """Once each, whatever it is called."""
    for instrument in vars(telemetry).values():
        if isinstance(instrument, (Counter, UpDownCounter)):
            instrument.add(1)
        elif isinstance(instrument, Histogram):
            instrument.record(0.1)


def observe_every_gauge() -> None:
    """Under the worker's names; what they read here is a constant."""
    for gauge in GAUGES:
        telemetry.observe(gauge.name, gauge.description, gauge.unit, lambda _: 1.0, None)


if __name__ == "__main__":
    telemetry.serve_metrics("exposition", None, "127.0.0.1")
    record_every_instrument()
    observe_every_gauge()
    sys.stdout.buffer.write(generate_latest())
