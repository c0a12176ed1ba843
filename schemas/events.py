"""What a producer may say: CloudEvents 1.0 in structured JSON, nothing about prices."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from schemas.ids import new_id
from schemas.inbox import EVENT_BYTES_MAX

DEPLOYED = "com.fixbill.fix.deployed.v1"
REVERTED = "com.fixbill.fix.reverted.v1"

# Plain ASCII on purpose: no look-alike twins, no normal forms, nothing a terminal acts upon.
ID_PATTERN = r"^[A-Za-z0-9._:-]{1,128}$"
ID_RULE = "1 to 128 of the characters A-Z a-z 0-9 . _ : -"
JSON_DEPTH_MAX = 8
# RFC 3339 with a zone. pydantic alone would also take 1700000000 for a time.
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)$")


class BadEvent(ValueError):
    """The event cannot be understood; `field` says where, the message what would be right."""

    def __init__(self, field: str, problem: str) -> None:
        self.field = printable(field)
        self.problem = printable(problem)
        super().__init__(f"{self.field}: {self.problem}" if field else self.problem)


def printable(text: str) -> str:
    """Field names come from outside too: nothing but short, visible ASCII reaches a message."""
    return "".join(char if " " <= char <= "~" else "?" for char in text[:200])


def parse_time(value: object) -> object:
    """An aware datetime in UTC, from RFC 3339 text alone."""
    if isinstance(value, str):
        if not TIME.match(value):
            raise ValueError("must be RFC 3339 with a zone, such as 2026-03-01T12:00:00Z")
        try:
            return datetime.fromisoformat(value).astimezone(UTC)
        except OverflowError:
            raise ValueError("must be a time that exists in UTC") from None
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    raise ValueError("must be RFC 3339 text with a zone, such as 2026-03-01T12:00:00Z")


Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
Time = Annotated[datetime, BeforeValidator(parse_time)]
Repository = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._/-]{1,200}$")]
Source = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:/@~+-]{1,256}$")]
CommitSha = Annotated[
    str, StringConstraints(pattern=r"^[0-9A-Fa-f]{7,64}$"), AfterValidator(str.lower)
]
Traceparent = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
]


class FixData(BaseModel):
    """Which fix reached which customer's main branch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    customer_id: Id
    fix_id: Id
    repository: Repository
    commit_sha: CommitSha
    pull_request: Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)] | None = None
    finding: Id | None = None


class Event(BaseModel):
    """One fact from a pipeline. Unknown CloudEvents attributes are allowed and ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    specversion: Literal["1.0"]
    id: Id
    source: Source
    type: Literal["com.fixbill.fix.deployed.v1", "com.fixbill.fix.reverted.v1"]
    time: Time
    subject: Id
    datacontenttype: Literal["application/json"] = "application/json"
    traceparent: Traceparent | None = None
    data: FixData

    @model_validator(mode="after")
    def subject_is_the_fix(self) -> Event:
        if self.subject != self.data.fix_id:
            raise ValueError("subject must equal data.fix_id")
        return self

    @property
    def customer_id(self) -> str:
        return self.data.customer_id

    @property
    def fix_id(self) -> str:
        return self.data.fix_id

    @property
    def reverts(self) -> bool:
        return self.type == REVERTED

    @cached_property
    def body_hash(self) -> bytes:
        """SHA-256 over type and data: what must not differ between two sendings of one event id."""
        data = self.data
        text = "\x1f".join(
            (
                self.type,
                data.customer_id,
                data.fix_id,
                data.repository,
                data.commit_sha,
                str(data.pull_request or ""),
                data.finding or "",
            )
        )
        return sha256(text.encode()).digest()

    def to_bytes(self) -> bytes:
        """The wire form: structured JSON without empty attributes."""
        return self.model_dump_json(exclude_none=True).encode()


EVENT = TypeAdapter(Event)


def new_event(
    *, source: str, time: datetime, data: FixData, type: str = DEPLOYED, id: str | None = None
) -> Event:
    """A fresh event. The id is made here, before the first try, and kept by every retry."""
    return validated(
        {
            "specversion": "1.0",
            "id": id or new_id("evt"),
            "source": source,
            "type": type,
            "time": time,
            "subject": data.fix_id,
            "data": data,
        }
    )


def parse_event(body: bytes) -> Event:
    """The event in these bytes; raises BadEvent."""
    return validated(parse_json(body))


def parse_json(
    body: bytes, bytes_max: int = EVENT_BYTES_MAX, depth_max: int = JSON_DEPTH_MAX
) -> Any:
    """JSON as a careful reader takes it: UTF-8, no duplicate keys, no NaN, not deep, not large."""
    if len(body) > bytes_max:
        raise BadEvent("", f"is {len(body)} bytes; at most {bytes_max} are taken")
    try:
        value = STRICT.decode(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadEvent("", "is not UTF-8 text") from error
    except RecursionError as error:
        raise BadEvent("", f"is nested deeper than {depth_max} levels") from error
    except BadEvent:
        raise
    except ValueError as error:
        raise BadEvent("", f"is not JSON: {error}") from error
    # As deep as that it can only be with as many opening brackets.
    if body.count(b"{") + body.count(b"[") > depth_max and is_deeper(value, depth_max):
        raise BadEvent("", f"is nested deeper than {depth_max} levels")
    return value


def validated(value: object) -> Event:
    """The event this parsed JSON stands for; raises BadEvent."""
    if not isinstance(value, dict):
        raise BadEvent("", "must be a JSON object: one CloudEvents event")
    try:
        return EVENT.validate_python(value)
    except ValidationError as error:
        raise explained(error) from None


def explained(error: ValidationError) -> BadEvent:
    """The first problem, named by its field and never quoting the value."""
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    problem = first["msg"].removeprefix("Value error, ")
    if first["type"] == "string_pattern_mismatch" and first["ctx"]["pattern"] == ID_PATTERN:
        problem = f"must be {ID_RULE}"
    elif first["type"] == "missing":
        problem = "is required"
    elif first["type"] == "extra_forbidden":
        problem = "is not part of an event; remove it"
    elif first["type"] == "string_unicode":
        problem = "must be text without lone surrogates"
    return BadEvent(field, problem)


def unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise BadEvent(double, "stands twice in the same object; send it once")
    return found


def refuse_constant(name: str) -> object:
    raise BadEvent("", f"{name} is not JSON")


STRICT = json.JSONDecoder(object_pairs_hook=unique_keys, parse_constant=refuse_constant)


def is_deeper(value: object, levels: int) -> bool:
    """Level by level: a recursion could be driven into the interpreter's limit."""
    containers = [value] if isinstance(value, (dict, list)) else []
    for _ in range(levels):
        containers = [
            child
            for each in containers
            for child in (each.values() if isinstance(each, dict) else each)
            if isinstance(child, (dict, list))
        ]
    return bool(containers)


# A fix id that was computed, not chosen: it can belong to one customer only.
DERIVED_PREFIX = "drv1_"


def derived_fix_id(host: str, repository_id: int, pull_request: int, finding: str = "") -> str:
    """The fix id of a pull request: stable over renames, re-runs and re-sent webhooks."""
    parts = (host.lower(), str(repository_id), str(pull_request), finding)
    return DERIVED_PREFIX + sha256("\x1f".join(parts).encode()).hexdigest()[:40]
