"""`fixbill doctor`: what is missing or weak, each with the advice that puts it right."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine

from migrations.migrate import downgrade
from schemas.inbox import stream_of
from tests.cli.running import NOWHERE, Cli
from worker.local.valkey import Valkey


def advice(cli: Cli) -> dict[str, list[str]]:
    """What is found to be wrong; the answer as text must say the same."""
    answer, shown = cli("doctor", "--json"), cli("doctor")
    wrong: dict[str, list[str]] = {}
    for finding in answer.json["findings"]:
        if not finding["ok"]:
            wrong.setdefault(finding["what"], []).append(finding["advice"])
    assert answer.json["ok"] is (not wrong)
    assert answer.code == shown.code == (1 if wrong else 0)
    assert ("WEAK" in shown.out) is bool(wrong)
    assert [each for found in wrong.values() for each in found if each not in shown.out] == []
    return wrong


def test_a_sound_installation_gets_no_advice(cli: Cli) -> None:
    assert advice(cli) == {}


def test_a_schema_that_is_behind_is_found(cli: Cli, owner: Engine) -> None:
    with owner.begin() as tx:
        downgrade(tx)

    found = advice(cli)

    assert found == {"database": ["run: alembic -c migrations/alembic.ini upgrade head"]}


def test_a_database_that_is_away_is_found(cli: Cli) -> None:
    cli.set(DATABASE_URL=f"postgresql://{NOWHERE}/fixbill")

    assert advice(cli) == {"database": ["cannot be reached (OperationalError)"]}


def test_an_inbox_that_is_away_is_found(cli: Cli) -> None:
    cli.set(REDIS_URL=f"redis://{NOWHERE}")

    assert advice(cli) == {"inbox": ["cannot be reached (ConnectionError)"]}


def test_a_store_that_may_lose_events_is_found_with_the_setting_to_change(
    cli: Cli, tmp_path: Path
) -> None:
    with Valkey.start(tmp_path, {"appendfsync": "everysec", "appendonly": "no"}) as store:
        cli.set(INBOX_REDIS_URL=store.url)

        found = advice(cli)

    assert found == {
        "inbox": [
            "appendonly is 'no'; set it to 'yes'",
            "appendfsync is 'everysec'; set it to 'always'",
        ]
    }


def test_a_stream_that_holds_something_else_is_found(cli: Cli) -> None:
    cli.redis.set(stream_of(3), "x")

    (found,) = advice(cli)["inbox"]

    assert found.startswith("inbox:{3} holds no stream")
    assert "delete it" in found


def test_an_inbox_that_nobody_can_sign_for_is_found(cli: Cli) -> None:
    cli.set(TRUST_REDIS=None)

    (found,) = advice(cli)["producers"]
    made = cli("keys", "producer", "create", "a pipeline", "--json").json
    sound = advice(cli)
    cli("keys", "revoke", made["key_id"])

    assert "fixbill keys producer create" in found
    assert sound == {}
    assert advice(cli)["producers"] == [found]
