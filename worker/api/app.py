"""The HTTP API: one door in, and the answers out."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI
from opentelemetry import trace
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from worker import inbox, telemetry
from worker.api import (
    charges,
    contests,
    customers,
    docs,
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
from worker.api.bounds import BoundedRequests
from worker.api.description import describe
from worker.api.limits import limits_of
from worker.api.problems import answer_problems, route_of
from worker.clock import Clock
from worker.process import open_links, open_signer, use_plans
from worker.settings import settings
from worker.storage.engine import API, connect
from worker.stripe_gateway import StripeGateway

# In the order of the description, each under its heading.
MODULES = {
    track_fix: "Publishing",
    customers: "Usage",
    usage_report: "Usage",
    fixes: "Fixes",
    explain: "Explanations",
    contests: "Contests",
    charges: "Charges",
    ledger: "Ledger",
    statements: "Statements",
    quarantine: "Quarantine",
    pay: "Paying",
    webhooks: "Webhooks",
    health: "Health",
    usage_page: "Usage",
    ops: "Operators",
    docs: "Description",
}


class Traced:
    """Continue the caller's trace, if it sent one; links are secret, so a span names its route."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        with telemetry.span(scope["method"], Headers(scope=scope)):
            try:
                await self.app(scope, receive, send)
            finally:
                name = f"{scope['method']} {route_of(scope)}"
                trace.get_current_span().update_name(name)


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
            signer=open_signer(),
            limits=limits_of(env.rate_read_per_second, env.rate_publish_per_second),
        )
    )


def build_app(doors: Doors) -> FastAPI:
    app = FastAPI(
        title="Fixbill",
        version=version("fixbill"),
        summary="Bill once, and only once, for every fix that reaches a main branch.",
        generate_unique_id_function=lambda route: route.name,
        docs_url=None,  # both would load scripts from elsewhere; docs.py serves a page of ours
        redoc_url=None,
        # FastAPI's own spans name the path, in which links are secret; `Traced` makes ours.
        telemetry={"tracing": False, "logs": False},
    )
    app.state.doors = doors
    app.add_middleware(BoundedRequests)
    app.add_middleware(Traced)
    answer_problems(app)
    for module, heading in MODULES.items():
        app.include_router(module.router, tags=[heading])
    describe(app)
    return app
