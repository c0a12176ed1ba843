"""The plan catalogue: what a fix costs, under which version of which plan."""

from __future__ import annotations

import tomllib
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from schemas.money import Money

DEFAULT_FILE = Path(__file__).with_name("plans.toml")

Count = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]


class BadPlans(ValueError):
    """The plan catalogue cannot be used; the message names the file and the field."""


def positive(value: object) -> object:
    if isinstance(value, dict) and not (type(value.get("amount")) is int and value["amount"] > 0):
        raise ValueError("amount must be a whole number of minor units above 0")
    return value


def rising(days: tuple[int, ...]) -> tuple[int, ...]:
    if list(days) != sorted(set(days)):
        raise ValueError("retry days must rise: [1, 3, 5, 7]")
    return days


Day = Annotated[int, Field(strict=True, ge=1, le=90)]
Price = Annotated[Money, BeforeValidator(positive)]


class PlanVersion(BaseModel):
    """One version of a plan, in force from `effective` until the next one's date."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    effective: date
    price: Price | None = None  # of a fix without a credit; None: such a fix is held
    subscription: Price | None = None  # a month
    signup_credits: Count = 0
    billing_added_credits: Count = 0
    billing_added_plan: str | None = None
    included_credits: Count = 0  # per paid cycle
    rollover_credits_max: Count = 0
    credits_expire_days: Count | None = None
    collect: Literal["at_once", "cycle_end"] = "at_once"  # when what is owed goes to the card
    retry_days: Annotated[tuple[Day, ...], AfterValidator(rising)] = (1, 3, 5, 7)  # after a decline


class Plan(BaseModel):
    """A plan and its versions, oldest first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    versions: Annotated[tuple[PlanVersion, ...], Field(min_length=1)]


class Catalogue:
    """All plans by code; raises BadPlans for a code or version it does not have."""

    def __init__(self, plans: dict[str, Plan]) -> None:
        self.plans = plans

    def in_force(self, code: str, on: date) -> PlanVersion:
        """The version a customer gets who takes this plan on this day."""
        versions = [each for each in self._plan(code).versions if each.effective <= on]
        if not versions:
            raise BadPlans(f"plan {code} has no version in force on {on}")
        return max(versions, key=lambda each: each.effective)

    def pinned(self, code: str, effective: date) -> PlanVersion:
        """The version a customer has."""
        for version in self._plan(code).versions:
            if version.effective == effective:
                return version
        raise BadPlans(f"plan {code} has no version of {effective}; versions are never removed")

    def title(self, code: str) -> str:
        return self._plan(code).title

    def _plan(self, code: str) -> Plan:
        if code not in self.plans:
            raise BadPlans(f"there is no plan {code!r}; there are {', '.join(self.plans)}")
        return self.plans[code]


@cache
def load_plans(file: Path = DEFAULT_FILE) -> Catalogue:
    """The catalogue in this file; raises BadPlans."""
    try:
        raw = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadPlans(f"{file}: {error}") from error
    plans = {code: plan_in(file, code, plan) for code, plan in raw.items()}
    for code, plan in plans.items():
        check_versions(file, code, plan, plans)
    return Catalogue(plans)


def plan_in(file: Path, code: str, plan: object) -> Plan:
    try:
        return Plan.model_validate(plan)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in (code, *first["loc"]))
        raise BadPlans(f"{file}: {field}: {first['msg']}") from error


def check_versions(file: Path, code: str, plan: Plan, plans: dict[str, Plan]) -> None:
    dates = [version.effective for version in plan.versions]
    if dates != sorted(set(dates)):
        raise BadPlans(
            f"{file}: {code}.versions: effective dates must rise from version to version"
        )
    for version in plan.versions:
        if version.billing_added_plan not in {None, *plans}:
            raise BadPlans(
                f"{file}: {code}: billing_added_plan {version.billing_added_plan!r} is no plan"
            )
