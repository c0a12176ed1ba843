"""Every threat that this product is built against, what is refused, and the tests that show it.

A test that is renamed or taken away must be replaced here.
"""

from __future__ import annotations

import ast
import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from schemas.events import Event, FixData

TESTS = Path(__file__).parents[1]


class Threat(NamedTuple):
    """Where it ends, and how that is known."""

    ends: str
    shown: tuple[str, ...]  # file, then a test in it


THREATS = {
    "a forged, altered, old or future webhook": Threat(
        "400, and no row",
        (
            "api/test_webhooks.py::test_a_bad_signature_is_answered_with_400_and_leaves_no_trace",
            "api/test_webhooks.py::test_a_signed_body_that_is_no_event_is_answered_with_400_and_leaves_no_trace",
            "faults/test_webhook_faults.py::test_what_stripe_did_not_sign_or_never_sends_gets_400_and_leaves_nothing",
        ),
    ),
    "a webhook that is replayed": Threat(
        "200, and one row",
        ("api/test_webhooks.py::test_a_webhook_delivered_a_hundred_times_is_stored_once",),
    ),
    "someone bills another's customer through Redis": Threat(
        "quarantine, with the reason, belonging to no customer",
        (
            "refusals/test_senders.py::test_of_a_signed_entry_and_all_forgeries_of_it_the_signed_one_is_billed_once",
            "refusals/test_senders.py::test_no_mutation_of_an_event_is_billed_under_the_signature_of_the_event",
        ),
    ),
    "a producer does more on Redis than append": Threat(
        "NOPERM of the ACL; a stream that is destroyed stops no other",
        (
            "deploy/test_redis_acl.py::test_a_producer_appends_and_nothing_else",
            "deploy/test_redis_acl.py::test_what_could_destroy_or_reveal_is_forbidden_to_all",
            "faults/test_broken_stream.py::test_the_others_are_settled_and_the_log_names_it",
        ),
    ),
    "Redis without a password": Threat(
        "no connection",
        (
            "deploy/test_redis_acl.py::test_nobody_enters_without_a_name_and_its_password",
            "local/test_valkey.py::test_nobody_enters_without_the_password",
            "deploy/test_compose.py::test_nothing_but_our_own_processes_reaches_the_stores",
        ),
    ),
    "workers are ended through the broker": Threat(
        "NOPERM of the ACL: a producer reaches no channel",
        ("deploy/test_redis_acl.py::test_a_user_has_no_command_but_those_of_the_file",),
    ),
    "pickle, YAML, and what no task can be made of": Threat(
        "not decoded; the worker lives on",
        (
            "test_celery_app.py::test_nothing_but_json_is_taken_and_no_result_is_kept",
            "refusals/test_mutations.py::test_of_a_valid_event_and_all_its_mutations_the_valid_one_is_billed_once",
        ),
    ),
    "asking for what belongs to others": Threat(
        "404, as if it did not exist; row security sees nothing either",
        (
            "api/test_access_matrix.py::test_f81_a_key_of_another_customer_is_answered_as_if_there_were_none",
            "api/test_access_matrix.py::test_things_of_another_customer_are_not_found_under_ones_own",
            "storage/test_row_security.py::test_a_named_customer_sees_their_own_rows_and_no_others",
        ),
    ),
    "a key that is guessed, revoked, expired or of too little scope": Threat(
        "401, 403, and 429 for who goes on guessing",
        (
            "refusals/test_senders.py::test_at_the_api_the_wrong_sender_bills_nothing_and_the_right_one_once",
            "test_keys.py::test_only_the_hash_of_the_secret_is_stored",
            "api/test_rates.py::test_f81_an_address_that_guesses_is_refused_without_asking_the_database",
        ),
    ),
    "an amount, a price or a quantity from outside": Threat(
        "422 or quarantine: the catalogue alone says what a fix costs",
        (
            "refusals/test_mutations.py::test_of_a_valid_event_and_all_its_mutations_the_valid_one_is_billed_once",
            "refusals/test_threats.py::test_no_field_of_an_event_is_about_money",
            "storage/test_constraints.py::test_what_would_break_the_books_is_refused",
        ),
    ),
    "a time of the future, of the past, of a closed month": Threat(
        "quarantine; settled as late, in the open cycle",
        (
            "test_settle.py::test_an_event_from_the_future_is_set_aside",
            "test_settle.py::test_an_event_of_the_distant_past_is_settled_as_late",
            "billing/test_cycles.py::test_what_concerns_a_closed_cycle_is_written_into_the_open_one",
        ),
    ),
    "a text that somebody acts upon": Threat(
        "422, quarantine, or kept literally",
        (
            "test_hostile_texts.py::test_a_text_in_an_event_of_the_inbox",
            "test_hostile_texts.py::test_a_text_in_an_event_over_http",
            "schemas/test_events.py::test_any_bytes_are_an_event_or_refused",
            "test_customers.py::test_a_name_that_nothing_can_show_is_refused",
        ),
    ),
    "too large, too deep, too many, too slow": Threat(
        "413, 422, 429, 408",
        (
            "api/test_limits.py::test_what_is_no_event_is_refused",
            "api/test_webhooks.py::test_a_body_that_is_too_large_is_answered_with_413",
            "api/test_rates.py::test_a_key_that_reads_too_often_waits",
            "api/test_slow_callers.py::test_f81_a_hundred_callers_who_dribble_are_sent_away_and_others_are_served_meanwhile",
        ),
    ),
    "SQL in whatever is sent": Threat(
        "a bound parameter; ruff's S608 names every exception",
        (
            "test_hostile_texts.py::test_a_text_as_a_customer_in_a_path",
            "test_hostile_texts.py::test_a_text_that_names_nothing_is_refused_by_the_command",
        ),
    ),
    "secrets in logs, answers and errors": Threat(
        "told to nobody",
        (
            "test_secrets.py::test_an_api_whose_stores_are_away_tells_no_secret_and_no_link",
            "test_secrets.py::test_a_stack_whose_servers_die_names_no_secret_no_link_and_nobody",
        ),
    ),
    "an entry that ends its process": Threat(
        "quarantine after the third death",
        (
            "test_settler.py::test_an_entry_that_kills_its_process_is_set_aside_after_the_third_death_alone",
        ),
    ),
    "somebody inside changes the books": Threat(
        "no right to; found by the chain",
        (
            "storage/test_row_security.py::test_the_api_role_cannot_write",
            "storage/test_constraints.py::test_not_even_the_owner_rewrites_history",
            "usage/test_verify.py::test_a_single_changed_byte_in_history_is_found_where_it_is",
            "usage/test_offline.py::test_the_program_of_the_documentation_finds_a_changed_byte",
        ),
    ),
    "a package that is not the one we tested": Threat(
        "not installed: every file in uv.lock has its hash",
        ("refusals/test_threats.py::test_every_package_is_pinned_by_its_hash",),
    ),
    "test events among real money, and the other way round": Threat(
        "400",
        (
            "api/test_webhooks.py::test_a_test_event_is_refused_where_real_money_moves",
            "api/test_webhooks.py::test_a_signed_body_that_is_no_event_is_answered_with_400_and_leaves_no_trace",
        ),
    ),
}


@cache
def names_in(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("threat", THREATS.values(), ids=THREATS)
def test_what_is_refused_is_shown(threat: Threat) -> None:
    missing = [each for each in threat.shown if not is_there(*each.split("::"))]

    assert threat.shown
    assert missing == []


def is_there(file: str, test: str) -> bool:
    return (TESTS / file).is_file() and test in names_in(file)


def test_no_field_of_an_event_is_about_money() -> None:
    fields = {*Event.model_fields, *FixData.model_fields}

    assert fields == {
        *("specversion", "id", "source", "type", "time", "subject", "datacontenttype"),
        *("traceparent", "data", "customer_id", "fix_id", "repository", "commit_sha"),
        *("pull_request", "finding"),
    }


def test_every_package_is_pinned_by_its_hash() -> None:
    lock = tomllib.loads((TESTS.parent / "uv.lock").read_text("utf-8"))
    others = [each for each in lock["package"] if "registry" in each["source"]]
    files = [
        file for each in others for file in [*each.get("wheels", []), each.get("sdist")] if file
    ]

    assert len(others) > 50
    assert {each["name"] for each in lock["package"] if each not in others} == {"fixbill"}
    assert [file["url"] for file in files if not file["hash"].startswith("sha256:")] == []
