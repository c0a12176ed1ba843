"""The HTTP API: one door in, and the answers out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import version

from fastapi import FastAPI, Request, Response

from worker import inbox, telemetry
from worker.api import (
    charges,
    contests,
    customers,
    explain,
    fixes,
    health,
    ledger,
    ops,
    pay,
    quarantine,
    statements,
    track_fix,
    usage_page,
    usage_report,
    webhooks,
)
from worker.api.access import Doors
from worker.api.problems import answer_problems
from worker.clock import Clock
from worker.process import open_links, use_plans
from worker.settings import settings
from worker.storage.engine import API, connect
from worker.stripe_gateway import StripeGateway

# In the order of the description.
MODULES = (
    track_fix,
    customers,
    usage_report,
    fixes,
    explain,
    contests,
    charges,
    ledger,
    statements,
    quarantine,
    pay,
    webhooks,
    health,
    usage_page,
    ops,
)


async def traced(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Continue the caller's trace, if it sent one."""
    with telemetry.span(f"{request.method} {request.url.path}", request.headers):
        return await call_next(request)


def create_app() -> FastAPI:
    """The API of this process, from its settings; connections are made when first used."""
    env = settings()
    telemetry.write_logs(env.log_level)
    use_plans()
    telemetry.serve_metrics("api", env.metrics_port, env.metrics_host)
    url = env.need("api_database_url" if env.api_database_url else "database_url")
    return build_app(
        Doors(
            engine=connect(url, API),
            redis=inbox.connect(env.inbox_url()),
            clock=Clock(),
            webhook_secrets=env.webhook_secrets(),
            stripe=StripeGateway(env.need("stripe_api_key"), env.stripe_api_base),
            links=open_links(),
        )
    )


def build_app(doors: Doors) -> FastAPI:
    app = FastAPI(
        title="Fixbill",
        version=version("fixbill"),
        summary="Bill once, and only once, for every fix that reaches a main branch.",
    )
    app.state.doors = doors
    app.middleware("http")(traced)
    answer_problems(app)
    for module in MODULES:
        app.include_router(module.router)
    return app
