"""The description of the API as a page, which needs no script and nothing from elsewhere."""

from __future__ import annotations

import json
import re
from typing import Any

from fastapi import APIRouter, Request
from markupsafe import Markup, escape
from starlette.responses import Response

from worker.api.description import Document, operations
from worker.api.page_route import shown
from worker.api.pages.render import page

router = APIRouter()


@router.get("/docs", include_in_schema=False)
def docs(request: Request) -> Response:
    """Every operation, under its heading."""
    return shown(docs_page(request.app.openapi()))


def docs_page(document: Document) -> str:
    groups: dict[str, list[tuple[str, str, Document]]] = {}
    for path, method, operation in operations(document):
        groups.setdefault(operation["tags"][0], []).append((path, method, operation))
    return page("docs.html", document=document, groups=groups, words=words, example=example)


def words(text: str) -> Markup:
    """Paragraphs, with `names` and **headings** as the description marks them."""
    told = str(escape(text))
    told = re.sub(r"`([^`]+)`", r"<code>\1</code>", told)
    told = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", told)
    parts = (f"<p>{part}</p>" for part in told.split("\n\n") if part.strip())
    return Markup("".join(parts))  # noqa: S704 - escaped above


def example(response: dict[str, Any]) -> str | None:
    """What is answered where all goes well."""
    for content in response.get("content", {}).values():
        if "example" in content:
            found = content["example"]
            return (
                found if isinstance(found, str) else json.dumps(found, indent=2, ensure_ascii=False)
            )
    return None
