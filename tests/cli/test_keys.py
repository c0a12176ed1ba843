"""`fixbill keys`: made and shown once, listed without their secrets, revoked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.builders import one_row, rows_of
from tests.cli.running import Cli
from worker.clock import Clock
from worker.keys import PATTERN, check_key
from worker.storage import tables


def created(cli: Cli, *options: str) -> str:
    return cli("keys", "create", "a pipeline", *options).out.strip()


def id_in(key: str) -> str:
    found = PATTERN.fullmatch(key)
    assert found is not None
    return found[1]


def test_a_new_key_stands_alone_on_stdout_and_works(cli: Cli) -> None:
    done = cli("keys", "create", "a pipeline")

    found = check_key(done.out.strip(), cli.engine, Clock())
    assert (done.code, done.err) == (0, "")
    assert found is not None
    assert (found.name, found.scopes, found.customer_ids) == ("a pipeline", ["publish"], None)


def test_a_key_has_the_scopes_and_customers_it_was_given(cli: Cli) -> None:
    options = ["--scope", "read", "--scope", "revert", "--customer", "acme", "--customer", "globex"]

    done = cli("keys", "create", "a portal", *options, "--json")

    found = check_key(done.json["key"], cli.engine, Clock())
    assert found is not None
    assert (found.scopes, found.customer_ids) == (["read", "revert"], ["acme", "globex"])
    assert done.json == {
        "key": done.json["key"],
        "name": "a portal",
        "scopes": ["read", "revert"],
        "customers": ["acme", "globex"],
    }


def test_a_key_cannot_be_bound_to_what_can_be_no_customer(cli: Cli) -> None:
    done = cli("keys", "create", "a pipeline", "--customer", "ac me")

    assert done.code in {1, 2}
    assert rows_of(cli.engine, tables.api_keys) == []


def test_a_key_can_expire(cli: Cli) -> None:
    before = datetime.now(UTC)

    created(cli, "--expires-in-days", "7")

    expires_at = one_row(cli.engine, tables.api_keys)["expires_at"]
    assert before + timedelta(days=7) <= expires_at <= datetime.now(UTC) + timedelta(days=7)


def test_keys_are_listed_without_their_secrets(cli: Cli) -> None:
    key = created(cli, "--customer", "acme")
    secret = key[len("fbk_") + len(id_in(key)) + 1 :]

    text, listed = cli("keys", "list"), cli("keys", "list", "--json")

    (row,) = listed.json
    assert (row["key_id"], row["name"], row["customer_ids"]) == (
        id_in(key),
        "a pipeline",
        ["acme"],
    )
    assert "secret_hash" not in row
    assert f"fbk_{id_in(key)}_…" in text.out
    assert secret not in text.out + listed.out


def test_without_keys_the_list_is_empty(cli: Cli) -> None:
    text, listed = cli("keys", "list"), cli("keys", "list", "--json")

    assert (text.code, listed.code) == (0, 0)
    assert listed.json == []


def test_a_revoked_key_is_refused_and_revoked_once(cli: Cli) -> None:
    key = created(cli)

    first, second = cli("keys", "revoke", id_in(key)), cli("keys", "revoke", id_in(key))

    assert (first.code, first.out) == (0, "revoked\n")
    assert second.code == 1
    assert second.sentence == f"there is no key {id_in(key)} in force"
    assert check_key(key, cli.engine, Clock()) is None


def test_whether_a_key_was_revoked_is_said_as_json_too(cli: Cli) -> None:
    key_id = id_in(created(cli))

    answers = [cli("keys", "revoke", key_id, "--json") for _ in range(2)]

    assert [each.json for each in answers] == [
        {"key_id": key_id, "revoked": True},
        {"key_id": key_id, "revoked": False},
    ]
    assert [each.code for each in answers] == [0, 1]
