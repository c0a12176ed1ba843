"""`fixbill keys`: made and shown once, rotated, listed without their secrets, revoked."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from producers.signing import Signer
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


# Rotation, and keys of both kinds.


def test_a_rotated_key_has_a_successor_and_lasts_for_the_overlap(cli: Cli) -> None:
    old = created(cli, "--scope", "read", "--customer", "acme")
    before = datetime.now(UTC)

    done = cli("keys", "rotate", id_in(old), "--overlap-hours", "2", "--json")

    both = [check_key(each, cli.engine, Clock()) for each in (old, done.json["key"])]
    assert [(each.name, each.scopes, each.customer_ids) for each in both if each] == [
        ("a pipeline", ["read"], ["acme"])
    ] * 2
    assert done.json["replaces"] == id_in(old)
    assert done.json["key_id"] == id_in(done.json["key"])
    expires_at = one_row(cli.engine, tables.api_keys, key_id=id_in(old))["expires_at"]
    assert before + timedelta(hours=2) <= expires_at <= datetime.now(UTC) + timedelta(hours=2)


def test_without_an_overlap_the_old_key_ends_at_once(cli: Cli) -> None:
    old = created(cli)

    new = cli("keys", "rotate", id_in(old), "--overlap-hours", "0").out.strip()

    found = [check_key(each, cli.engine, Clock()) is not None for each in (old, new)]
    assert found == [False, True]


@pytest.mark.parametrize("words", [("rotate",), ("producer", "rotate"), ("producer", "revoke")])
def test_a_key_that_is_not_in_force_is_one_sentence(cli: Cli, words: tuple[str, ...]) -> None:
    done = cli("keys", *words, "0" * 12)

    assert done.code == 1
    assert done.sentence == f"there is no key {'0' * 12} in force"


def test_a_signing_key_is_printed_alone_and_reads_back(cli: Cli) -> None:
    done = cli("keys", "producer", "create", "a pipeline", "--customer", "acme")

    signer = Signer.of(done.out.strip())
    row = one_row(cli.engine, tables.producer_keys)
    assert (done.code, done.err) == (0, "")
    assert (row["key_id"], row["public_key"]) == (signer.key_id, signer.public_key)
    assert (row["name"], row["scopes"], row["customer_ids"]) == (
        "a pipeline",
        ["publish"],
        ["acme"],
    )


@pytest.mark.parametrize("write", [b64encode, urlsafe_b64encode])
def test_a_public_key_that_was_made_elsewhere_is_registered_once(
    cli: Cli, write: Callable[[bytes], bytes]
) -> None:
    public = Signer.generate("0" * 12).public_key
    text = write(public).decode().rstrip("=")

    first, again = (
        cli("keys", "producer", "create", "theirs", "--public-key", text, "--json")
        for _ in range(2)
    )

    assert first.json["key"] is None
    assert one_row(cli.engine, tables.producer_keys)["public_key"] == public
    assert (again.code, again.sentence) == (1, "fixbill: this public key is registered already")


@pytest.mark.parametrize("text", ["", "AAAA", "A" * 64, "é" * 43, "A" * 42 + "!"])
def test_what_is_no_public_key_is_wrong_usage(cli: Cli, text: str) -> None:
    done = cli("keys", "producer", "create", "theirs", "--public-key", text)

    assert done.code == 2
    assert "32 bytes in base64" in done.err


@pytest.mark.parametrize("options", [("--scope", "read"), ("--scope", "admin")])
def test_a_producer_may_publish_and_revert_and_nothing_else(
    cli: Cli, options: tuple[str, ...]
) -> None:
    done = cli("keys", "producer", "create", "a pipeline", *options)

    assert done.code == 2
    assert rows_of(cli.engine, tables.producer_keys) == []


def test_a_rotated_signing_key_and_its_successor_are_good_together(cli: Cli) -> None:
    options = ["--scope", "publish", "--scope", "revert", "--customer", "acme"]
    made = cli("keys", "producer", "create", "a pipeline", *options, "--json").json

    done = cli("keys", "producer", "rotate", made["key_id"], "--json").json

    first, second = cli("keys", "producer", "list", "--json").json
    assert Signer.of(done["key"]).key_id == done["key_id"] == second["key_id"]
    assert done["replaces"] == first["key_id"] == made["key_id"]
    same = ("name", "scopes", "customer_ids")
    assert [first[name] for name in same] == [second[name] for name in same]
    assert first["expires_at"] is not None
    assert second["expires_at"] is None


def test_keys_of_both_kinds_are_listed_and_revoked_alike(cli: Cli) -> None:
    api = id_in(created(cli))
    made = cli("keys", "producer", "create", "a pipeline", "--json").json
    signer = Signer.of(made["key"])

    listed, shown = cli("keys", "list", "--json"), cli("keys", "list")
    answers = [cli("keys", "revoke", each) for each in (api, signer.key_id, signer.key_id)]

    assert [(each["kind"], each["key_id"]) for each in listed.json] == [
        ("api", api),
        ("producer", signer.key_id),
    ]
    assert listed.json[1]["public_key"] == b64encode(signer.public_key).decode()
    assert f"fbs_{signer.key_id}_…" in shown.out
    assert made["key"] not in listed.out + shown.out
    assert [each.code for each in answers] == [0, 0, 1]
    assert one_row(cli.engine, tables.producer_keys)["revoked_at"] is not None
