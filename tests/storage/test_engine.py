from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tests.stack import Database, connected
from worker.storage.engine import API, SESSION, WORKER, blames_the_data, is_away, with_driver


def sqlstate(code: str) -> psycopg.Error:
    """What psycopg raises for this SQLSTATE."""
    return psycopg.errors.lookup(code)("in words")


def wrapped(error: Exception) -> DBAPIError:
    """As SQLAlchemy passes it on."""
    return DBAPIError("SELECT 1", None, error)


THE_DATA = {
    "not unique": "23505",
    "a check": "23514",
    "null": "23502",
    "number out of range": "22003",
    "bad text": "22021",
    "zero byte": "22P05",
    "too complex": "54001",
}
THE_SERVER = {
    "connection lost": "08006",
    "shutting down": "57P01",
    "starting up": "57P03",
    "statement timeout": "57014",
    "deadlock": "40P01",
    "serialization": "40001",
    "lock timeout": "55P03",
    "disk full": "53100",
    "out of memory": "53200",
    "too many connections": "53300",
    "idle session": "57P05",
    "idle transaction": "25P03",
    "read only": "25006",
    "no privilege": "42501",
    "no table": "42P01",
    "I/O error": "58030",
    "internal error": "XX000",
    "corrupt index": "XX002",
}


@pytest.mark.parametrize("code", THE_DATA.values(), ids=THE_DATA)
def test_the_data_is_to_blame_for(code: str) -> None:
    error = sqlstate(code)

    blamed = blames_the_data(error), blames_the_data(wrapped(error))

    assert blamed == (True, True)


@pytest.mark.parametrize("code", THE_SERVER.values(), ids=THE_SERVER)
def test_the_server_is_to_blame_for(code: str) -> None:
    error = sqlstate(code)

    blamed = blames_the_data(error), blames_the_data(wrapped(error))

    assert blamed == (False, False)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (psycopg.DataError("cannot be sent"), True),
        (psycopg.OperationalError("connection refused"), False),
        (psycopg.InterfaceError("the connection is closed"), False),
        (wrapped(psycopg.OperationalError("connection refused")), False),
        (wrapped(psycopg.DataError("cannot be sent")), True),
        (ConnectionResetError(), False),
        (TimeoutError(), False),
        (ValueError("a rule"), True),
        (KeyError("a rule"), True),
        (OverflowError("date value out of range"), True),
    ],
    ids=repr,
)
def test_errors_without_a_code_are_told_apart(error: Exception, expected: bool) -> None:
    blamed = blames_the_data(error)

    assert blamed is expected


AWAY = ("connection lost", "shutting down", "starting up", "too many connections", "lock timeout")


@pytest.mark.parametrize("code", [THE_SERVER[name] for name in AWAY], ids=AWAY)
def test_a_server_that_may_be_back_in_a_moment_is_away(code: str) -> None:
    error = sqlstate(code)

    away = is_away(error), is_away(wrapped(error))

    assert away == (True, True)


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError("connection refused"),
        wrapped(psycopg.OperationalError("connection refused")),
        PoolTimeout("QueuePool limit"),
    ],
    ids=repr,
)
def test_a_server_that_cannot_be_reached_is_away(error: Exception) -> None:
    given = error

    away = is_away(given)

    assert away
    assert not blames_the_data(given)


@pytest.mark.parametrize(
    "error",
    [sqlstate("23505"), wrapped(sqlstate("42501")), ValueError("a rule"), KeyError("x")],
    ids=repr,
)
def test_a_mistake_is_not_a_server_that_is_away(error: Exception) -> None:
    given = error

    away = is_away(given)

    assert not away


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgres://u:p@h:1/d", "postgresql+psycopg://u:p@h:1/d"),
        (
            "postgresql://u:p@h:1/d?sslmode=require",
            "postgresql+psycopg://u:p@h:1/d?sslmode=require",
        ),
        ("postgresql+psycopg://h/d", "postgresql+psycopg://h/d"),
    ],
)
def test_a_url_gets_our_driver(given: str, expected: str) -> None:
    url = given

    ours = with_driver(url)

    assert ours == expected


@pytest.mark.parametrize("setting", SESSION)
def test_every_session_has_its_limits(engine: Engine, api_engine: Engine, setting: str) -> None:
    question = text(f"SHOW {setting}")

    with engine.begin() as worker, api_engine.begin() as api:
        answers = {worker.scalar(question), api.scalar(question)}

    assert answers == {SESSION[setting]}


@pytest.mark.parametrize("role", [WORKER, API])
def test_an_owner_who_logs_in_acts_as_the_role(database: Database, role: str) -> None:
    with connected(database.owner_url, role) as engine, engine.begin() as tx:
        acting = tx.scalar(text("SELECT current_user"))

        superuser = tx.scalar(text("SELECT current_setting('is_superuser')"))

    assert (acting, superuser) == (role, "off")
