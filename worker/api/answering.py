"""How an answer leaves: JSON, or CSV for a list, or nothing where the caller has it already."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from schemas.answers import Answer
from worker.usage.spreadsheet import sheet_of

AS_OF = "Fixbill-As-Of"  # said also with a 304, which has no body to say it in
CSV = "text/csv"

# What a route adds to its description when its list can be had as CSV.
AS_CSV: dict[int | str, dict[str, Any]] = {
    200: {"content": {CSV: {"schema": {"type": "string"}}}},
    304: {"description": "Nothing but `as_of` has changed since the ETag that was sent"},
}


def answered(request: Request, answer: Answer, row: type[BaseModel] | None = None) -> Response:
    """`row` is the kind of what a list holds in `data`; without it there is no CSV."""
    as_csv = row is not None and wants_csv(request)
    headers = headers_of(answer, as_csv)
    if headers["ETag"] in known_to(request):
        return Response(status_code=304, headers=headers)
    if row is not None and as_csv:
        text = sheet_of(row, getattr(answer, "data", []))
        return Response(text, headers=headers, media_type=CSV)
    return Response(answer.model_dump_json(), headers=headers, media_type="application/json")


def headers_of(answer: Answer, as_csv: bool) -> dict[str, str]:
    """The tag leaves `as_of` out: it moves while nothing else does."""
    body = answer.model_dump_json(exclude={"as_of"})
    tag = sha256(f"{as_csv} {body}".encode()).hexdigest()[:32]
    headers = {
        "ETag": f'W/"{tag}"',
        "Cache-Control": "private, no-cache",
        "Vary": "Accept, Authorization",
    }
    as_of, cursor = getattr(answer, "as_of", None), getattr(answer, "cursor", None)
    if as_of is not None:
        headers[AS_OF] = as_of.isoformat()
    if cursor is not None:
        headers["Fixbill-Cursor"] = cursor  # CSV has no other place for it
    return headers


def known_to(request: Request) -> list[str]:
    """The tags that the caller has."""
    return [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]


def wants_csv(request: Request) -> bool:
    accepted = request.headers.get("accept", "")
    return any(each.split(";")[0].strip() == CSV for each in accepted.split(","))
