"""What a process of ours opens when it starts, from its settings."""

from __future__ import annotations

import gc

from sqlalchemy import Engine

from producers.signing import Signer
from schemas.plans import install_plans
from worker import inbox, telemetry
from worker.billing.policy import DEFAULT_BREAKER, Breaker
from worker.clock import Clock
from worker.due import Tools
from worker.links import Links
from worker.settings import Settings, settings
from worker.storage.engine import WORKER, connect
from worker.stripe_gateway import StripeGateway


def open_tools(pool_size: int = 8) -> Tools:
    """Connections are made when they are first used; logs go to stderr as JSON from here on."""
    env = settings()
    telemetry.write_logs(env.log_level)
    use_plans()
    return Tools(
        engine=open_engine(pool_size),
        redis=inbox.connect(env.inbox_url()),
        stripe=StripeGateway(env.need("stripe_api_key"), env.stripe_api_base),
        clock=Clock(),
        breaker=breaker_of(env),
        collectors=env.collectors,
    )


def use_plans() -> None:
    """The catalogue that the settings name; raises BadPlans."""
    file = settings().plans_file
    if file is not None:
        install_plans(file)


def breaker_of(env: Settings) -> Breaker:
    customer, everyone = DEFAULT_BREAKER
    return Breaker(
        customer._replace(
            amount=or_default(env.breaker_customer_day_amount, customer.amount),
            attempts=or_default(env.breaker_customer_day_attempts, customer.attempts),
        ),
        everyone._replace(
            amount=or_default(env.breaker_hour_amount, everyone.amount),
            attempts=or_default(env.breaker_hour_attempts, everyone.attempts),
        ),
    )


def or_default(given: int | None, default: int) -> int:
    return default if given is None else given


def open_links() -> Links | None:
    """What makes links for customers; None where the settings name no address for them."""
    env = settings()
    if env.public_url is None or env.link_secret is None:
        return None
    secret = env.link_secret.get_secret_value()
    return Links(env.public_url.rstrip("/"), secret, env.portals())


def open_engine(pool_size: int = 8) -> Engine:
    return connect(settings().need("database_url"), WORKER, pool_size)


def open_signer() -> Signer | None:
    """What signs the entries this process puts into the inbox."""
    env = settings()
    return Signer.of(env.need("fixbill_signing_key")) if env.fixbill_signing_key else None


def collect_garbage_seldom() -> None:
    """What a batch makes lives until its end, and hardly any of it is in a cycle.

    With Python's own thresholds looking through them took 28 % of a settler's processor time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000)
