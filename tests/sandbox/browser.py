"""A customer's browser: it follows links to the sandbox, and stops where it would leave it."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import httpx


def look(url: str | None) -> httpx.Response:
    """Open a page."""
    assert url is not None
    return httpx.get(url, timeout=10)


def submit(url: str | None, **form: str) -> httpx.Response:
    """Press a button of the page."""
    assert url is not None
    return httpx.post(url, data=form, timeout=10)


def led_to(answer: httpx.Response) -> str:
    """Where the browser is sent."""
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"]


def told(url: str) -> dict[str, str]:
    """What the address of a page says to it."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
