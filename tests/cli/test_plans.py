"""`fixbill plans`: without any server, over the catalogue in use and others beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from schemas.plans import DEFAULT_FILE
from tests.cli.running import Command

REPOSITORY = Path(__file__).parents[2]
SHIPPED = DEFAULT_FILE.read_text()
HEAVY = {"sqlalchemy", "stripe", "celery", "fastapi"}

IN_2099 = '[[payg.versions]]\neffective = 2099-01-01\nprice = { amount = 3900, currency = "usd" }\n'
FROM_2099 = SHIPPED.replace("\n[pro]", f"\n{IN_2099}\n[pro]")
DEARER = SHIPPED.replace("amount = 2900", "amount = 3900")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "plans.toml"


def test_the_catalogue_in_use_is_checked_with_a_line_for_each_version(command: Command) -> None:
    text, answer = command("plans", "check"), command("plans", "check", "--json")

    assert (text.code, answer.code) == (0, 0)
    assert [line.split(":")[0] for line in text.out.splitlines()] == [
        "trial 2026-01-01",
        "payg 2026-01-01",
        "pro 2026-01-01",
    ]
    assert "payg 2026-01-01: price $29.00\n" in text.out
    assert (answer.json["ok"], answer.json["problems"]) == (True, [])
    assert [each["plan"] for each in answer.json["versions"]] == ["trial", "payg", "pro"]


def test_all_that_is_wrong_is_told_a_line_each(command: Command, file: Path) -> None:
    file.write_text(DEARER.replace("3900", "0").replace("[1, 3, 5, 7]", "[7, 1]"))

    text, answer = (command("plans", "check", str(file), *more) for more in ((), ("--json",)))

    assert (text.code, answer.code) == (1, 1)
    told = answer.json["problems"]
    assert text.out.splitlines() == [
        f"{each['file']}:{each['line']}: {each['field']}: {each['problem']}" for each in told
    ]
    assert [each["field"] for each in told] == [
        "payg.versions[0].price",
        "payg.versions[0].retry_days",
    ]
    assert [SHIPPED.splitlines()[each["line"] - 1].split()[0] for each in told] == [
        "price",
        "retry_days",
    ]
    assert answer.json["versions"] == []


def test_what_a_terminal_would_act_upon_is_not_printed(command: Command, file: Path) -> None:
    file.write_text('["\\u001b[31m"]\ntitle = "One"\n')

    done = command("plans", "check", str(file))

    assert done.code == 1
    assert "\x1b" not in done.out


@pytest.mark.parametrize(
    ("day", "in_force"),
    [("2025-12-31", [False, False]), ("2026-01-01", [True, False]), ("2099-01-01", [False, True])],
)
def test_the_version_in_force_on_a_day_is_marked(
    command: Command, file: Path, day: str, in_force: list[bool]
) -> None:
    file.write_text(FROM_2099)
    command.set(PLANS_FILE=str(file))

    text, answer = (command("plans", "show", "payg", "--on", day, *m) for m in ((), ("--json",)))

    (plan,) = answer.json["plans"]
    assert (answer.json["on"], plan["plan"], plan["title"]) == (day, "payg", "Pay as you go")
    assert [each["in_force"] for each in plan["versions"]] == in_force
    assert text.out.count("(in force)") == sum(in_force)
    assert "$29.00" in text.out
    assert "$39.00" in text.out


def test_every_plan_is_shown_with_what_it_sets(command: Command) -> None:
    shown = command("plans", "show")

    assert shown.code == 0
    assert shown.out.count("2026-01-01 (in force)") == 3
    assert all(word in shown.out for word in ("$599.00", "after_cancel_plan", "Pay as you go"))


@pytest.mark.parametrize("words", [["show", "gold"], ["diff", "missing.toml"]], ids=" ".join)
def test_what_is_not_there_is_one_sentence(command: Command, words: list[str]) -> None:
    done = command("plans", *words)

    assert done.code == 1
    assert words[1] in done.sentence


def test_a_file_that_cannot_be_used_is_not_compared(command: Command, file: Path) -> None:
    file.write_text("[one]\n[two]\n")

    done = command("plans", "diff", str(file), "--json")

    assert (done.code, done.out) == (1, "")
    assert f"{file}:1: one.title: is missing" in done.err
    assert f"{file}:2: two.title: is missing" in done.err


NEW: dict[str, tuple[str, int, list[tuple[str, bool]]]] = {
    "the same": (SHIPPED, 0, []),
    "a price to come": (FROM_2099, 0, [("effective", False), ("price", False)]),
    "a price in force": (DEARER, 1, [("price", True)]),
}


@pytest.mark.parametrize(("text", "code", "expected"), NEW.values(), ids=NEW)
def test_a_file_is_refused_where_it_rewrites_history(
    command: Command, file: Path, text: str, code: int, expected: list[tuple[str, bool]]
) -> None:
    file.write_text(text)

    shown, answer = (command("plans", "diff", str(file), *more) for more in ((), ("--json",)))

    found = answer.json["differences"]
    assert (shown.code, answer.code, answer.json["ok"]) == (code, code, code == 0)
    assert [(each["field"], each["rewrites_history"]) for each in found] == expected
    assert {each["plan"] for each in found} <= {"payg"}
    assert shown.out.count("allowed") == sum(not rewrites for _, rewrites in expected)
    assert ("Refused" in shown.out) is bool(code)
    assert ("no differences" in shown.out) is (not expected)


@pytest.mark.parametrize(("text", "name"), [(FROM_2099, "plans"), (DEARER, "edited")])
def test_the_documented_differences_are_those_that_are_printed(
    command: Command, tmp_path: Path, text: str, name: str
) -> None:
    file = tmp_path / f"{name}.toml"
    file.write_text(text)
    page = (REPOSITORY / "docs/plans.md").read_text()
    example = page.split(f"$ fixbill plans diff {name}.toml\n")[1].split("```")[0]

    shown = command("plans", "diff", str(file))

    assert example.split() == shown.out.split()


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys; from worker.cli.main import run; run(['plans', '--help']);"
        "print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )

    assert "diff" in done.stdout
    assert not {name for name in HEAVY if f"'{name}'" in done.stderr}
    assert "'click'" in done.stderr
