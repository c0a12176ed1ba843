"""Everything that is read from the environment, and nowhere else."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator


class MissingSetting(RuntimeError):
    """A setting that is needed is not set."""


class Settings(BaseModel):
    """Names are those of the environment in lower case; secrets never print themselves."""

    # Postgres. The worker's URL serves for the rest unless they have logins of their own.
    database_url: SecretStr | None = None
    api_database_url: SecretStr | None = None
    owner_database_url: SecretStr | None = None

    # Redis or Valkey. One serves for all on a laptop; separate stores in production.
    redis_url: SecretStr | None = None
    inbox_redis_url: SecretStr | None = None
    celery_broker_url: SecretStr | None = None
    trust_redis: bool = False  # take entries from anyone who can reach the inbox store

    stripe_api_key: SecretStr | None = None
    stripe_api_base: str | None = None  # of the sandbox; empty is Stripe itself
    stripe_webhook_secret: SecretStr | None = None  # several, for rotation: separated by commas

    # Where customers reach the API, and what signs the links they are sent.
    public_url: str | None = None
    link_secret: SecretStr | None = None
    portal_origins: str = ""  # sites that may frame the usage page, separated by commas

    # The circuit breaker's bounds, in minor units and in number; empty: the built-in ones.
    breaker_customer_day_amount: int | None = Field(default=None, ge=0)
    breaker_customer_day_attempts: int | None = Field(default=None, ge=0)
    breaker_hour_amount: int | None = Field(default=None, ge=0)
    breaker_hour_attempts: int | None = Field(default=None, ge=0)
    collectors: int = Field(default=4, ge=1, le=64)  # charges collected at once by one process

    # What one key may ask of one process of the API in the long run; empty: the built-in rates.
    rate_read_per_second: float | None = Field(default=None, gt=0)  # requests
    rate_publish_per_second: float | None = Field(default=None, gt=0)  # events

    settlers: int = Field(default=1, ge=1, le=16)
    plans_file: Path | None = None
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None
    log_level: str = "INFO"

    # For `fixbill publish`.
    fixbill_api_url: str | None = None
    fixbill_api_key: SecretStr | None = None
    fixbill_signing_key: SecretStr | None = None  # for the Redis door; the API signs with it too
    fixbill_customer: str | None = None
    fixbill_spool: Path | None = None
    ci: str | None = None  # set by CI systems, to whatever they like

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """What is set to nothing is not set."""
        given = {name: environment.get(name.upper()) for name in cls.model_fields}
        return cls.model_validate({name: text for name, text in given.items() if text})

    @field_validator("database_url", "api_database_url", "owner_database_url")
    @classmethod
    def reads_like_postgres(cls, url: SecretStr | None) -> SecretStr | None:
        return like(url, POSTGRES, "postgresql://user:password@host:5432/database")

    @field_validator("redis_url", "inbox_redis_url", "celery_broker_url")
    @classmethod
    def reads_like_redis(cls, url: SecretStr | None) -> SecretStr | None:
        return like(url, REDIS, "redis://:password@host:6379/0")

    @field_validator("fixbill_signing_key")
    @classmethod
    def reads_like_signing_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and not SIGNING_KEY.fullmatch(key.get_secret_value()):
            raise ValueError("must read like fbs_…_…, as `fixbill keys producer create` prints it")
        return key

    @field_validator("portal_origins")
    @classmethod
    def reads_like_origins(cls, listed: str) -> str:
        if not all(ORIGIN.fullmatch(each) for each in parts_of(listed)):
            raise ValueError("must read like https://portal.example.com,https://*.example.org")
        return listed

    def need(self, name: str) -> str:
        """The value of a setting that has to be there; raises MissingSetting."""
        value = getattr(self, name)
        if value is None:
            raise MissingSetting(f"set {name.upper()}; `fixbill up` prints a file that does")
        return value.get_secret_value() if isinstance(value, SecretStr) else str(value)

    def inbox_url(self) -> str:
        return self.need("inbox_redis_url" if self.inbox_redis_url else "redis_url")

    def broker_url(self) -> str:
        return self.need("celery_broker_url" if self.celery_broker_url else "redis_url")

    def webhook_secrets(self) -> list[str]:
        return [part for part in self.need("stripe_webhook_secret").split(",") if part]

    def portals(self) -> tuple[str, ...]:
        return tuple(parts_of(self.portal_origins))


# Written into a header of every usage page, so nothing but origins may be in it.
ORIGIN = re.compile(r"https?://(\*\.)?[A-Za-z0-9.-]+(:\d{1,5})?")


def parts_of(listed: str) -> list[str]:
    return [part.strip() for part in listed.split(",") if part.strip()]


SIGNING_KEY = re.compile(r"fbs_[0-9a-f]{12}_[A-Za-z0-9_-]{43}")
POSTGRES = {"postgres", "postgresql", "postgresql+psycopg"}
REDIS = {"redis", "rediss", "unix", "amqp", "amqps"}  # Celery's broker may be RabbitMQ


def like(url: SecretStr | None, schemes: set[str], example: str) -> SecretStr | None:
    """Never quotes the URL: there is a password in it."""
    if url is None:
        return None
    try:
        parts = urlsplit(url.get_secret_value())
        sound = parts.scheme in schemes and bool(parts.netloc or parts.path) and parts.port != 0
    except ValueError:  # the port is no number
        sound = False
    if not sound:
        raise ValueError(f"must read like {example}")
    return url


@cache
def settings() -> Settings:
    """The process's settings; raises MissingSetting naming what is malformed."""
    try:
        return Settings.of(os.environ)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = str(first["loc"][0]).upper()
        problem = first["msg"].removeprefix("Value error, ")
        raise MissingSetting(f"{name}: {problem}") from None
