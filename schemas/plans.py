"""The plan catalogue: what a fix costs, under which version of which plan."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from schemas.money import Money
from schemas.plan_rules import broken_rules
from schemas.toml_lines import Place, line_of, lines_of, syntax_error

DEFAULT_FILE = Path(__file__).with_name("plans.toml")

Count = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
LARGEST_PAYMENT = 99_999_999  # minor units


# What pydantic says of Python, said of TOML.
WORDS = {
    "missing": "is missing",
    "extra_forbidden": "there is no such field",
    "model_type": "must be a table",
    "dataclass_type": 'must be a table such as { amount = 2900, currency = "usd" }',
    "tuple_type": "must be an array",
    "string_too_short": "must not be empty",
    "date_type": "must be a date such as 2026-01-31, without quotes or a time",
}


class Problem(NamedTuple):
    """Something wrong in a file; the line is None where there are none."""

    file: Path
    line: int | None
    field: str
    problem: str

    def __str__(self) -> str:
        place = f"{self.file}" if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, self.field, self.problem) if part)


class BadPlans(ValueError):
    """The plan catalogue cannot be used: one Problem, or sentence, a line."""

    def __str__(self) -> str:
        return "\n".join(str(each) for each in self.args)


def payable(value: object) -> object:
    if isinstance(value, dict):
        amount = value.get("amount")
        if type(amount) is not int or amount <= 0:
            raise ValueError("amount must be a whole number of minor units above 0")
        if amount > LARGEST_PAYMENT:
            raise ValueError(f"amount must be at most {LARGEST_PAYMENT}, the most Stripe takes")
    return value


def rising(days: tuple[int, ...]) -> tuple[int, ...]:
    if list(days) != sorted(set(days)):
        raise ValueError("retry days must rise: [1, 3, 5, 7]")
    return days


def some(versions: tuple[PlanVersion, ...]) -> tuple[PlanVersion, ...]:
    """min_length would count only the sound ones, and so complain of a bad one twice."""
    if not versions:
        raise ValueError("must not be empty")
    return versions


Day = Annotated[int, Field(strict=True, ge=1, le=90)]
Price = Annotated[Money, BeforeValidator(payable)]


class PlanVersion(BaseModel):
    """One version of a plan, in force from `effective` until the next one's date."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    effective: Annotated[date, Field(strict=True)]
    price: Price | None = None  # of a fix without a credit; None: such a fix is held
    subscription: Price | None = None  # a month
    after_cancel_plan: str | None = None  # where its end leads
    signup_credits: Count = 0
    billing_added_credits: Count = 0
    billing_added_plan: str | None = None
    included_credits: Count = 0  # per paid cycle
    rollover_credits_max: Count = 0
    credits_expire_days: Count | None = None
    collect: Literal["at_once", "cycle_end"] = "at_once"  # when what is owed goes to the card
    retry_days: Annotated[tuple[Day, ...], AfterValidator(rising)] = (1, 3, 5, 7)  # after a decline

    @property
    def currency(self) -> str | None:
        """That of all its money; None where it asks for none."""
        money = self.price or self.subscription
        return money.currency if money else None

    def terms(self) -> dict[str, object]:
        """What it says beside its date, without what goes without saying."""
        fields = type(self).model_fields
        return {
            name: value
            for name, value in self
            if name != "effective" and value != fields[name].default
        }


class Plan(BaseModel):
    """A plan and its versions, oldest first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: Annotated[str, Field(min_length=1)]
    versions: Annotated[tuple[PlanVersion, ...], AfterValidator(some)]

    def in_force(self, on: date) -> PlanVersion | None:
        begun = [each for each in self.versions if each.effective <= on]
        return begun[-1] if begun else None


class Catalogue:
    """All plans by code; raises BadPlans for a code or version it does not have."""

    def __init__(self, plans: dict[str, Plan]) -> None:
        self.plans = plans

    def in_force(self, code: str, on: date) -> PlanVersion:
        """The version a customer gets who takes this plan on this day."""
        version = self.plan(code).in_force(on)
        if version is None:
            raise BadPlans(f"plan {code} has no version in force on {on}")
        return version

    def pinned(self, code: str, effective: date) -> PlanVersion:
        """The version a customer has."""
        for version in self.plan(code).versions:
            if version.effective == effective:
                return version
        raise BadPlans(f"plan {code} has no version of {effective}; versions are never removed")

    def title(self, code: str) -> str:
        return self.plan(code).title

    def plan(self, code: str) -> Plan:
        if code not in self.plans:
            raise BadPlans(f"there is no plan {code!r}; there are {', '.join(self.plans)}")
        return self.plans[code]


def load_plans(file: Path | None = None) -> Catalogue:
    """The catalogue in this file, else the installed one; raises BadPlans."""
    if file is None:
        return _installed or shipped()
    return catalogue_in(file, text_of(file))


@cache
def shipped() -> Catalogue:
    return load_plans(DEFAULT_FILE)


_installed: Catalogue | None = None


def install_plans(file: Path) -> None:
    """From now on load_plans() gives this file's catalogue; raises BadPlans, changing nothing."""
    global _installed
    _installed = load_plans(file)


def text_of(file: Path) -> str:
    try:
        content = file.read_bytes()
        return content.decode()
    except OSError as error:
        why = f"cannot be read: {error.strerror}"
        raise BadPlans(Problem(file, None, "", why)) from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadPlans(Problem(file, line, "", "is no UTF-8 text")) from error


def catalogue_in(file: Path, text: str) -> Catalogue:
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line, why = syntax_error(text, error)
        raise BadPlans(Problem(file, line, "", why)) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or as deep
        raise BadPlans(Problem(file, None, "", str(error))) from error
    plans, problems = checked(raw)
    if problems:
        lines = lines_of(text)
        found = [Problem(file, line_of(at, lines), spelled(at), why) for at, why in problems]
        raise BadPlans(*sorted(found, key=lambda each: each.line or 0))
    return Catalogue(plans)


def checked(raw: Mapping[str, object]) -> tuple[dict[str, Plan], list[tuple[Place, str]]]:
    """The plans that are sound in themselves, and everything that is wrong."""
    plans: dict[str, Plan] = {}
    problems: list[tuple[Place, str]] = [] if raw else [((), "there are no plans in it")]
    for code, plan in raw.items():
        try:
            plans[code] = Plan.model_validate(plan)
        except ValidationError as error:
            problems += bad_fields(code, error)
    versions = {code: sound_versions(plan) for code, plan in raw.items()}
    return plans, [*problems, *broken_rules(versions, raw, plans)]


def bad_fields(code: str, error: ValidationError) -> Iterator[tuple[Place, str]]:
    for each in error.errors(include_url=False, include_input=False):
        said = each["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        yield (code, *each["loc"]), WORDS.get(each["type"], said)


def sound_versions(plan: object) -> dict[int, PlanVersion]:
    """By place, so that one bad field hides nothing that is wrong elsewhere."""
    versions = plan.get("versions") if isinstance(plan, dict) else None
    found = {}
    for index, version in enumerate(versions if isinstance(versions, list) else ()):
        with suppress(ValidationError):
            found[index] = PlanVersion.model_validate(version)
    return found


def spelled(place: Place) -> str:
    """`pro.versions[0].price`"""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(parts).removeprefix(".")
