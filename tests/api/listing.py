"""How lists of acme's are asked for, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from httpx import Response

from tests.api.client import Api


def ask(
    api: Api, path: str, customer_id: str = "acme", key: str | None = None, **headers: str
) -> Response:
    """What is answered of a customer; `path` is what follows theirs."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    signed = api.signed(key) | named
    return api.ask("GET", f"/api/v1/customers/{customer_id}/{path}", signed)


def told(api: Api, path: str, customer_id: str = "acme") -> Any:
    """The same, which must be there."""
    got = ask(api, path, customer_id)
    assert got.status_code == 200, got.text
    return got.json()


def pages(api: Api, path: str, limit: int = 1000) -> Iterator[list[dict[str, Any]]]:
    """The pages of a list, up to the last."""
    path = f"{path}{'&' if '?' in path else '?'}limit={limit}"
    cursor = ""
    while True:
        page = told(api, path + cursor)
        yield page["data"]
        assert page["has_more"] == (page["cursor"] is not None)
        if not page["has_more"]:
            return
        cursor = f"&cursor={page['cursor']}"


def listed(api: Api, path: str) -> list[dict[str, Any]]:
    """All that a list holds."""
    return [row for page in pages(api, path) for row in page]
