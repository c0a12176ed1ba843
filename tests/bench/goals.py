"""What is to be reached, as ratios of figures of one run: a slow machine is slow for everyone."""

from __future__ import annotations

from collections.abc import Callable
from operator import ge, le
from typing import Any, NamedTuple

from tests.bench.figures import Figures
from tests.bench.latency import RATES


class Goal(NamedTuple):
    """`holds` compares what was measured with the bound."""

    holds: Callable[[float, float], bool]
    bound: float
    measured: Callable[[Figures], float]


def beside_celery(figures: Figures) -> float:
    best = max(figures.median("settle.celery_prefork"), figures.median("settle.celery_threads"))
    return figures.median("settle.spread") / best


def worst_p99(figures: Figures) -> float:
    return max(
        figures.ratio(f"latency.{rate}.p99", f"latency.celery_task.{rate}.p99") for rate in RATES
    )


def part_of_an_event(name: str) -> Callable[[Figures], float]:
    """Of the time of an event, the part that this alone takes."""
    return lambda figures: figures.median(name) * figures.median("settle.spread") / 1e6


def ratio(of: str, to: str) -> Callable[[Figures], float]:
    return lambda figures: figures.ratio(of, to)


GOALS = {
    "settle_vs_celery_task": Goal(ge, 40, beside_celery),
    "settle_vs_pgbench": Goal(ge, 6, ratio("settle.spread", "settle.pgbench")),
    "settle_vs_copy": Goal(ge, 0.2, ratio("settle.spread", "settle.copy")),
    "hot_vs_spread": Goal(ge, 1, ratio("settle.hot", "settle.spread")),
    "duplicates_vs_fresh": Goal(ge, 2, ratio("settle.repeated", "settle.spread")),
    "latency_p99_vs_celery_task": Goal(le, 1, worst_p99),
    "latency_p99_at_200_in_ms": Goal(le, 20, lambda figures: figures.median("latency.200.p99")),
    "usage_p50_vs_bare_route": Goal(le, 1.5, ratio("answers.usage.p50", "answers.bare_route.p50")),
    "growth_cost": Goal(le, 1.15, ratio("growth.settle.10k", "growth.settle.1m")),
    "memory_growth": Goal(le, 1.05, lambda figures: figures.median("aging.memory_growth")),
    "publish_vs_bare_imports": Goal(
        le, 1.4, ratio("publishing.command", "publishing.bare_imports")
    ),
    "telemetry_cost": Goal(le, 0.05, part_of_an_event("settle.telemetry")),
    "hash_chain_cost": Goal(le, 0.1, part_of_an_event("settle.hash_chain")),
}


def reached(figures: Figures) -> dict[str, Any]:
    return {name: against(goal, goal.measured(figures)) for name, goal in GOALS.items()}


def against(goal: Goal, value: float) -> dict[str, Any]:
    sign = "≥" if goal.holds is ge else "≤"
    return {
        "value": value,
        "goal": f"{sign} {goal.bound:g}",
        "met": goal.holds(value, goal.bound),
    }
