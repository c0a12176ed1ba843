"""A customer's word against a fix, and what became of it."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from schemas.answers import Answer, Listing

REASON_MAX = 2000


def readable(text: str) -> str:
    """One line in any language: nothing that a terminal acts upon or that hides itself."""
    if any(unicodedata.category(char)[0] == "C" for char in text):
        raise ValueError("must be printable text, without control characters or line breaks")
    if any(unicodedata.category(char) in ("Zl", "Zp") for char in text):
        raise ValueError("must be one line of text")
    if not text.strip():
        raise ValueError("must say what was wrong")
    return text


Reason = Annotated[
    str, StringConstraints(min_length=1, max_length=REASON_MAX), AfterValidator(readable)
]


class ContestWish(BaseModel):
    """What a customer says was wrong with a fix."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={"examples": [{"reason": "The pull request was reverted the same day."}]},
    )

    reason: Reason = Field(description="Printable text, one line.")


class ContestAnswer(Answer):
    """`status` is open until the operator has decided; accepted means the fix is taken back."""

    contest_id: str
    customer_id: str
    fix_id: str
    reason: str = Field(description="The customer's own words.")
    status: Literal["open", "accepted", "rejected"]
    opened_at: datetime
    decided_at: datetime | None
    decided_why: str | None = Field(description="The operator's words.")


class ContestList(Listing):
    """Newest first."""

    data: list[ContestAnswer]
