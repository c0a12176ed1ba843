"""Everything that is measured, in about fifteen minutes; `make bench`.

python -m tests.bench [--quick] [--events N] [--only SECTION …]
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic

import structlog

from tests.bench import (
    aging,
    answers,
    collecting,
    full_inbox,
    goals,
    latency,
    publishing,
    rollover,
    track_fix,
)
from tests.bench.bed import Bed, made_up
from tests.bench.figures import FULL, QUICK, Effort, Figures
from tests.bench.machine import described
from tests.bench.report import LATEST, report

SECTIONS: dict[str, Callable[[Bed, Effort, Figures], None]] = {
    "settle": full_inbox.measure,
    "latency": latency.measure,
    "publishing": publishing.measure,
    "track_fix": track_fix.measure,
    "answers": answers.measure,
    "collecting": collecting.measure,
    "rollover": rollover.measure,
    "aging": aging.measure,
}


def main() -> None:
    asked = arguments()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    effort = replace(QUICK if asked.quick else FULL, events=asked.events)
    sections, figures = asked.only or list(SECTIONS), Figures()
    with made_up() as bed:
        facts = described(bed)
        for name in sections:
            begun = monotonic()
            SECTIONS[name](bed, effort, figures)
            tell(f"{name}: {monotonic() - begun:.0f} s\n")
    measured = {
        **facts,
        "effort": {"rounds": effort.rounds, "share": effort.share, "events": effort.events},
        "figures": figures.as_json(),
        "ratios": {} if asked.only else goals.reached(figures),
        "samples": figures.samples,
    }
    if not asked.only:  # a part of it is no run to compare with
        LATEST.write_text(json.dumps(measured, indent=1, ensure_ascii=False) + "\n")
    sys.stdout.write("\n" + report(measured))


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a part of the work, in two minutes")
    parser.add_argument("--events", type=int, default=FULL.events, help="of the long run")
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), metavar="SECTION")
    return parser.parse_args(given)


def tell(progress: str) -> None:
    sys.stderr.write(progress)
    sys.stderr.flush()


if __name__ == "__main__":
    main()
