"""Figures as they are measured: several runs of each, the median of which is what counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any


@dataclass(frozen=True)
class Effort:
    """How often everything is measured, and how much of the work is done each time."""

    rounds: int = 3
    share: float = 1.0
    events: int = 1_000_000  # settled in the long run

    def of(self, number: int) -> int:
        return max(1, int(number * self.share))


def p99(values: Sequence[float]) -> float:
    return quantiles(values, n=100, method="inclusive")[98]


FULL, QUICK = Effort(), Effort(rounds=1, share=0.15)


@dataclass
class Figures:
    """Named like `settle.spread`: the section, then what was measured."""

    runs: dict[str, list[float]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    samples: dict[str, Any] = field(default_factory=dict)  # what only a picture shows

    def add(self, name: str, value: float, unit: str) -> None:
        assert self.units.setdefault(name, unit) == unit, f"{name} is in {self.units[name]}"
        self.runs.setdefault(name, []).append(value)

    def median(self, name: str) -> float:
        return median(self.runs[name])

    def ratio(self, of: str, to: str) -> float:
        assert self.units[of] == self.units[to], f"{of} and {to} are not of one kind"
        return self.median(of) / self.median(to)

    def as_json(self) -> dict[str, Any]:
        return {
            name: {"median": median(runs), "unit": self.units[name], "runs": runs}
            for name, runs in self.runs.items()
        }
