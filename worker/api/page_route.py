"""Routes for people: what they answer is a page, also when something is wrong."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Coroutine, Sequence
from hashlib import sha256
from http import HTTPStatus
from math import ceil
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from worker.api.access import Doors
from worker.api.pages.render import page
from worker.api.problems import unexpected

TITLES = {
    HTTPStatus.UNAUTHORIZED: "Who are you?",
    HTTPStatus.NOT_FOUND: "There is nothing here",
    HTTPStatus.TOO_MANY_REQUESTS: "That was too often",
    HTTPStatus.BAD_GATEWAY: "No answer at present",
    HTTPStatus.SERVICE_UNAVAILABLE: "Not at present",
}
BASIC = {"WWW-Authenticate": 'Basic realm="Fixbill", charset="UTF-8"'}


class PageRoute(APIRoute):
    """Whatever is refused is told on a page."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                return await answer(request)
            except HTTPException as refusal:  # a Refusal, mostly
                again = getattr(refusal, "retry_after", None)
                return sorry(request, refusal.status_code, str(refusal.detail), again)
            except RequestValidationError:
                return sorry(request, HTTPStatus.NOT_FOUND, "There is no such page.")
            except Exception as error:  # the answer for programs logs it, too
                status = (await unexpected(request, error)).status_code
                return sorry(request, status, "Something is amiss on our side. Try again soon.")

        return told


def sorry(request: Request, status: int, detail: str, retry_after: float | None = None) -> Response:
    """Seen in a frame, too: where a link has expired there."""
    doors: Doors = request.app.state.doors
    title = TITLES.get(HTTPStatus(status), "This did not work")
    sentence = f"{detail[:1].upper()}{detail[1:]}"
    text = page("error.html", title=title, detail=sentence, status=status)
    answer = shown(text, status, framed_by=doors.links.portals if doors.links else ())
    if status == HTTPStatus.UNAUTHORIZED:
        answer.headers.update(BASIC)
    if retry_after is not None:
        answer.headers["Retry-After"] = str(max(1, ceil(retry_after)))
    return answer


def shown(text: str, status: int = 200, framed_by: Sequence[str] = ()) -> HTMLResponse:
    """A page without scripts, of which no cache keeps a copy, in nobody's frame but these."""
    return HTMLResponse(
        text,
        status,
        {
            "Cache-Control": "no-store",
            "Content-Security-Policy": policy(text, framed_by),
            "Referrer-Policy": "no-referrer",  # the address is a secret
            "X-Content-Type-Options": "nosniff",
        },
    )


def policy(text: str, framed_by: Sequence[str]) -> str:
    """The one style of the page, named by its hash, and nothing else."""
    style = text.partition("<style>")[2].partition("</style>")[0]
    digest = b64encode(sha256(style.encode()).digest()).decode()
    frames = " ".join(framed_by) or "'none'"
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        f"base-uri 'none'; form-action 'none'; frame-ancestors {frames}"
    )
