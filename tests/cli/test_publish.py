from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from producers.publish import connect
from producers.signing import Signer
from producers.spool import Spool, home_for
from schemas.events import REVERTED, parse_event
from schemas.inbox import EVENT, PARTITIONS, partition_of, stream_of
from tests.producers.fixes import EXAMPLES, MERGED, document, fix, some_fixes
from tests.producers.scripted_api import Reply, ScriptedApi, accept, problem, scripted_api, settle
from worker.cli.main import run
from worker.local.valkey import Valkey
from worker.settings import settings

PAYLOADS = EXAMPLES / "github"
FLAGS = [
    *("--customer", "acme", "--fix-id", "fix-1", "--repository", "github.com/acme/web"),
    *("--commit", "c" * 40),
]
SETTINGS = (
    "CI FIXBILL_API_URL FIXBILL_API_KEY FIXBILL_CUSTOMER FIXBILL_SIGNING_KEY FIXBILL_SPOOL "
    "REDIS_URL INBOX_REDIS_URL"
)
HEAVY = {
    *("sqlalchemy", "stripe", "fastapi", "celery", "opentelemetry", "redis", "urllib3", "rich"),
    "cryptography",
}


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def receipts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.out)
        return found

    @property
    def statuses(self) -> list[str]:
        return [each["status"] for each in self.receipts]


Fixbill = Callable[..., Done]


@pytest.fixture(scope="module")
def shared_api() -> Iterator[ScriptedApi]:
    with scripted_api() as one:
        yield one


@pytest.fixture
def inbox(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> Iterator[Redis]:
    """The Redis door, set, and nothing in it."""
    monkeypatch.setenv("REDIS_URL", valkey.url)
    with connect(valkey.url) as redis:
        redis.flushall()
        yield redis


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, and nothing set."""
    for name in SETTINGS.split():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def api(shared_api: ScriptedApi, monkeypatch: pytest.MonkeyPatch) -> ScriptedApi:
    """The HTTP door, set; it was asked nothing yet."""
    shared_api.reset()
    monkeypatch.setenv("FIXBILL_API_URL", shared_api.url)
    monkeypatch.setenv("FIXBILL_API_KEY", "fbk_secret")
    return shared_api


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> str:
    """The Redis door, set to where nobody listens."""
    url = "redis://:hunter2@127.0.0.1:1/0"
    monkeypatch.setenv("REDIS_URL", url)
    return url


@pytest.fixture
def fixbill(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Fixbill:
    """`fixbill publish …` in this process, with `stdin` as standard input."""

    def publish(*words: object, stdin: bytes = b"") -> Done:
        settings.cache_clear()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        code = run(["publish", *map(str, words)])
        return Done(code, *capsys.readouterr())

    return publish


def in_inbox(redis: Redis) -> list[str]:
    """The ids of all events that arrived, by partition."""
    streams: Any = [redis.xrange(stream_of(partition)) for partition in range(PARTITIONS)]
    return [parse_event(fields[EVENT]).id for stream in streams for _, fields in stream]


def written(path: Path, *documents: object) -> Path:
    path.write_text("\n".join(json.dumps(each) for each in documents))
    return path


def spool_at_home(address: str) -> Spool:
    home = home_for(address)
    assert home
    return Spool(home)


# Where events come from


def test_flags_make_an_event(fixbill: Fixbill, api: ScriptedApi) -> None:
    done = fixbill(
        *FLAGS, "--pull-request", 7, "--finding", "CVE-1", "--time", "2026-03-01T12:00:00+02:00"
    )

    assert (done.code, done.err) == (0, "")
    sent = api.asked[0].document
    assert sent["id"].startswith("evt_")
    assert sent["id"] in done.out
    assert sent["time"] == "2026-03-01T10:00:00Z"
    assert sent["source"] == "github.com/acme/web"
    assert sent["data"] == {
        "customer_id": "acme",
        "fix_id": "fix-1",
        "repository": "github.com/acme/web",
        "commit_sha": "c" * 40,
        "pull_request": 7,
        "finding": "CVE-1",
    }


def test_an_event_of_before_can_be_sent_again(fixbill: Fixbill, api: ScriptedApi) -> None:
    fixbill(*FLAGS, "--event-id", "evt_before", "--source", "jenkins")

    assert api.asked[0].document["id"] == "evt_before"
    assert api.asked[0].document["source"] == "jenkins"


def test_a_fix_can_be_reverted(fixbill: Fixbill, api: ScriptedApi) -> None:
    fixbill(*FLAGS, "--reverted")

    assert api.asked[0].document["type"] == REVERTED


def test_the_customer_may_stand_in_the_environment(
    fixbill: Fixbill, api: ScriptedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIXBILL_CUSTOMER", "globex")

    assert fixbill(*FLAGS[2:]).code == 0
    assert api.asked[0].document["data"]["customer_id"] == "globex"


@pytest.mark.parametrize(
    ("name", "count"), [("event.json", 1), ("events.jsonl", 5)], ids=["event", "lines"]
)
def test_the_published_examples_can_be_published(
    fixbill: Fixbill, api: ScriptedApi, name: str, count: int
) -> None:
    done = fixbill(EXAMPLES / name, "--json")

    assert done.code == 0
    assert done.statuses == ["accepted"] * count


def test_standard_input_is_a_source(fixbill: Fixbill, api: ScriptedApi) -> None:
    done = fixbill("-", "--json", stdin=json.dumps([document("1"), document("2")]).encode())

    assert done.code == 0
    assert [each["event_id"] for each in done.receipts] == ["evt-1", "evt-2"]


def test_a_merged_pull_request_is_published_the_same_at_every_run(
    fixbill: Fixbill, api: ScriptedApi
) -> None:
    for _ in range(2):
        words = ("--github-event", PAYLOADS / MERGED, "--customer", "acme", "--finding", "CVE-1")
        assert fixbill(*words).code == 0

    assert api.asked[0].body == api.asked[1].body
    assert api.asked[0].document["data"]["finding"] == "CVE-1"


@pytest.mark.parametrize("name", ["closed-unmerged.json", "merged-into-release-branch.json"])
def test_what_is_not_merged_is_refused_or_passed_over(
    fixbill: Fixbill, api: ScriptedApi, name: str
) -> None:
    words = ("--github-event", PAYLOADS / name, "--customer", "acme", "--json")

    refused = fixbill(*words)
    passed = fixbill(*words, "--if-merged")

    assert (refused.code, refused.out) == (1, "")
    assert (passed.code, passed.receipts) == (0, [])
    for done in (refused, passed):
        assert "pull_request." in done.err
        assert len(done.err.splitlines()) == 1
    assert api.asked == []


@pytest.mark.parametrize("extra", [[], ["--if-merged"]])
def test_a_payload_that_is_none_is_wrong_usage_even_with_if_merged(
    fixbill: Fixbill, api: ScriptedApi, extra: list[str]
) -> None:
    done = fixbill("--github-event", EXAMPLES / "event.json", "--customer", "acme", *extra)

    assert done.code == 2
    assert "pull_request" in done.err
    assert api.asked == []


# Wrong usage: exit 2, a sentence, nothing sent

WRONG = {
    "nothing": ([], "Give --customer, --fix-id, --repository, --commit"),
    "half the flags": (FLAGS[:4], "Give --repository, --commit"),
    "a bad commit": ([*FLAGS[:-1], "HEAD"], "--commit: "),
    "a bad fix id": ([*FLAGS, "--fix-id", "a b"], "--fix-id: must be 1 to 128"),
    "a bad customer": ([*FLAGS, "--customer", "\x1b[2J"], "--customer: must be 1 to 128"),
    "a bad repository": ([*FLAGS, "--repository", "a b", "--source", "x"], "--repository: "),
    "a bad source": ([*FLAGS, "--source", "a b"], "--source: "),
    "a bad event id": ([*FLAGS, "--event-id", "a b"], "--event-id: must be 1 to 128"),
    "a time without zone": ([*FLAGS, "--time", "2026-03-01T12:00:00"], "--time: must be RFC 3339"),
    "a time in words": ([*FLAGS, "--time", "yesterday"], "--time: must be RFC 3339"),
    "pull request 0": ([*FLAGS, "--pull-request", "0"], "--pull-request: "),
    "pull request in words": ([*FLAGS, "--pull-request", "seven"], "'seven' is not a valid int"),
    "a bad finding": ([*FLAGS, "--finding", "a\nb"], "--finding: must be 1 to 128"),
    "no such file": (["nowhere.json"], "nowhere.json"),
    "two sources": (["-", "--flush"], "Take one of FILE, --flush"),
    "flags beside a file": (["-", "--customer", "acme"], "--customer means nothing beside FILE"),
    "flags beside a payload": (
        ["--github-event", "-", "--commit", "c" * 40],
        "--commit means nothing beside --github-event",
    ),
    "flags beside a flush": (["--flush", "--fix-id", "x"], "means nothing beside --flush"),
    "if merged of what": ([*FLAGS, "--if-merged"], "means nothing without --github-event"),
    "a payload of nobody": (["--github-event", "-"], "Say whose fix it is"),
    "no time to wait": ([*FLAGS, "--wait", "0"], "--wait"),
    "a flag nobody knows": ([*FLAGS, "--price", "1"], "--price"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_is_told_in_the_name_of_the_flag(
    fixbill: Fixbill, api: ScriptedApi, case: str
) -> None:
    words, sentence = WRONG[case]

    done = fixbill(*words)

    assert (done.code, done.out) == (2, "")
    assert sentence in done.err
    assert "\x1b" not in done.err
    assert api.asked == []


def test_one_bad_event_among_thousands_holds_back_all(
    fixbill: Fixbill, api: ScriptedApi, tmp_path: Path
) -> None:
    events = [document(str(number)) for number in range(3000)]
    events[1233]["data"]["commit_sha"] = "HEAD"

    done = fixbill(written(tmp_path / "events.jsonl", *events))

    assert (done.code, done.out) == (2, "")
    assert "nothing was sent: line 1234: data.commit_sha: " in done.err
    assert api.asked == []


def test_nothing_says_where_to_publish_to(fixbill: Fixbill) -> None:
    done = fixbill(*FLAGS)

    assert (done.code, done.out) == (1, "")
    assert done.err == "fixbill: set FIXBILL_API_URL and FIXBILL_API_KEY, or REDIS_URL\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FIXBILL_API_KEY", ""),
        ("FIXBILL_API_URL", "billing.example.com"),
        ("FIXBILL_API_URL", "https://u:hunter2@billing.example.com"),
    ],
)
def test_a_door_that_is_half_set_is_named(
    fixbill: Fixbill, api: ScriptedApi, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    done = fixbill(*FLAGS)

    assert (done.code, done.out) == (1, "")
    assert name in done.err
    assert len(done.err.splitlines()) == 1
    assert "hunter2" not in done.err


def test_what_is_put_into_redis_is_signed_also_when_it_was_spooled_before(
    fixbill: Fixbill, inbox: Redis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url, signer = os.environ["REDIS_URL"], Signer.generate("0123456789ab")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    kept = fixbill(*FLAGS, "--spool", tmp_path / "kept", "--json")
    monkeypatch.setenv("REDIS_URL", url)
    monkeypatch.setenv("FIXBILL_SIGNING_KEY", signer.text())
    sent = fixbill(*FLAGS, "--spool", tmp_path / "kept", "--json")

    partition = partition_of("acme")
    entries: Any = inbox.xrange(stream_of(partition))
    assert (kept.statuses, sent.statuses) == (["spooled"], ["accepted"])
    assert [fields[b"k"] for _, fields in entries] == [b"0123456789ab"] * 2
    assert [fields[b"s"] for _, fields in entries] == [
        signer.sign(partition, fields[b"e"]) for _, fields in entries
    ]


@pytest.mark.parametrize("url", ["localhost:6379", "redis://:hunter2@host:port/0"])
def test_a_redis_address_that_is_none_is_named(
    fixbill: Fixbill, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("REDIS_URL", url)

    done = fixbill(*FLAGS)

    assert (done.code, done.out) == (1, "")
    assert "REDIS_URL" in done.err
    assert "hunter2" not in done.err


# Doors


def test_redis_is_the_door_where_no_api_is_set(fixbill: Fixbill, inbox: Redis) -> None:
    done = fixbill(*FLAGS, "--event-id", "evt_1")

    assert done.code == 0
    assert in_inbox(inbox) == ["evt_1"]


def test_http_comes_before_redis(fixbill: Fixbill, api: ScriptedApi, inbox: Redis) -> None:
    assert fixbill(*FLAGS).code == 0

    assert len(api.asked) == 1
    assert in_inbox(inbox) == []


def test_redis_takes_over_where_http_does_not_answer(
    fixbill: Fixbill, api: ScriptedApi, inbox: Redis
) -> None:
    api.script = [problem(503, "Send the same again.")]

    done = fixbill(*FLAGS, "--event-id", "evt_1", "--json")

    assert (done.code, done.statuses) == (0, ["accepted"])
    assert in_inbox(inbox) == ["evt_1"]


def test_a_refusal_of_the_api_is_final(
    fixbill: Fixbill, api: ScriptedApi, inbox: Redis, home: Path
) -> None:
    api.script = [problem(403, "this key is not bound to this customer")]

    done = fixbill(*FLAGS)

    assert done.code == 1
    assert "refused: this key is not bound to this customer" in done.err
    assert in_inbox(inbox) == []
    assert not (home / ".local").exists()


def test_thousands_go_in_chunks_and_are_summed_up(
    fixbill: Fixbill, api: ScriptedApi, tmp_path: Path
) -> None:
    events = [json.loads(event.to_bytes()) for event in some_fixes(1201)]

    done = fixbill(written(tmp_path / "events.jsonl", *events))

    assert (done.code, done.out, done.err) == (0, "1,201 accepted\n", "")
    assert [len(asked.document) for asked in api.asked] == [500, 500, 201]


def test_a_refusal_among_many_is_told_once_for_each_reason(
    fixbill: Fixbill, api: ScriptedApi, tmp_path: Path
) -> None:
    def refuse_some(_: object) -> Reply:
        reply = accept(api.asked[-1])
        assert isinstance(reply.body, dict)
        for each in reply.body["results"][:7]:
            each |= {"status": "refused", "detail": "not\x1b[2J yours"}
        return reply

    api.script = [refuse_some]
    events = [document(str(number)) for number in range(30)]

    done = fixbill(written(tmp_path / "events.jsonl", *events))

    assert done.code == 1
    assert done.out == "23 accepted, 7 refused\n"
    assert done.err == "refused: not?[2J yours (7 events)\n"


# The spool


def test_what_no_door_takes_is_spooled_and_goes_out_before_the_next(
    fixbill: Fixbill, api: ScriptedApi, home: Path
) -> None:
    api.script = [Reply(502, b"Bad Gateway", "text/html")]

    first = fixbill(*FLAGS, "--event-id", "evt_1", "--json")
    second = fixbill(*FLAGS, "--event-id", "evt_2", "--json")

    assert (first.code, first.statuses) == (3, ["spooled"])
    assert "answered 502" in first.err
    assert str(home) in first.err
    assert (second.code, [each["event_id"] for each in second.receipts]) == (0, ["evt_2"])
    assert [each["id"] for each in api.asked[-1].document] == ["evt_1", "evt_2"]
    assert "delivered what was spooled earlier" in second.err
    assert spool_at_home(api.url).read() == ([], [])


def test_a_flush_delivers_what_is_spooled_and_nothing_else(
    fixbill: Fixbill, inbox: Redis, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool")
    spool.keep(some_fixes(3))

    done = fixbill("--flush", "--spool", spool.directory, "--json")

    assert (done.code, done.statuses) == (0, ["accepted"] * 3)
    assert in_inbox(inbox) == ["evt-0", "evt-1", "evt-2"]
    assert spool.read().events == []


def test_a_flush_of_nothing_is_done(fixbill: Fixbill, nobody: str) -> None:
    done = fixbill("--flush", "--json")

    assert (done.code, done.receipts) == (0, [])


def test_a_flush_that_reaches_nobody_keeps_everything(
    fixbill: Fixbill, nobody: str, tmp_path: Path
) -> None:
    Spool(tmp_path).keep(some_fixes(3))

    done = fixbill("--flush", "--spool", tmp_path)

    assert done.code == 3
    assert "(3 events)" in done.err
    assert "hunter2" not in done.err
    assert Spool(tmp_path).read().events == some_fixes(3)


def test_what_the_spool_holds_that_is_no_event_stays_and_is_told(
    fixbill: Fixbill, api: ScriptedApi, tmp_path: Path
) -> None:
    strange = tmp_path / "strange.json"
    strange.write_text("{")

    published = fixbill(*FLAGS, "--spool", tmp_path)
    flushed = fixbill("--flush", "--spool", tmp_path)

    assert (published.code, flushed.code) == (0, 1)
    assert str(strange) in published.err
    assert str(strange) in flushed.err
    assert strange.read_text() == "{"


def test_a_spooled_event_that_is_refused_stays_and_is_told(
    fixbill: Fixbill, api: ScriptedApi, tmp_path: Path
) -> None:
    Spool(tmp_path).keep([fix()])
    api.script = [problem(401, "Send a valid API key.")]

    done = fixbill("--flush", "--spool", tmp_path)

    assert done.code == 1
    assert "Send a valid API key." in done.err
    assert Spool(tmp_path).read().events == [fix()]


def test_on_a_ci_machine_nothing_is_spooled(
    fixbill: Fixbill, nobody: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")

    done = fixbill(*FLAGS, "--json")

    assert (done.code, done.statuses) == (1, ["refused"])
    assert "send the same again" in done.err
    assert not (home / ".local").exists()
    assert fixbill("--flush").code == 2


@pytest.mark.parametrize("by", ["flag", "environment"])
def test_on_a_ci_machine_a_named_spool_is_used(
    fixbill: Fixbill, nobody: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setenv("CI", "true")
    if by == "environment":
        monkeypatch.setenv("FIXBILL_SPOOL", str(tmp_path / "cache"))

    done = fixbill(*FLAGS, *(["--spool", tmp_path / "cache"] if by == "flag" else []))

    assert done.code == 3
    assert len(Spool(tmp_path / "cache").read().events) == 1


def test_what_was_meant_for_one_place_is_not_sent_to_another(
    fixbill: Fixbill, nobody: str, api: ScriptedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FIXBILL_API_URL")
    assert fixbill(*FLAGS).code == 3

    monkeypatch.setenv("FIXBILL_API_URL", api.url)
    assert fixbill(*FLAGS).code == 0

    assert len(api.asked) == 1
    assert isinstance(api.asked[0].document, dict)
    assert len(spool_at_home(nobody).read().events) == 1


# Waiting for what becomes of it


def test_who_waits_sees_the_outcome(fixbill: Fixbill, api: ScriptedApi) -> None:
    price = {"amount": 2900, "currency": "usd"}
    api.script = [lambda asked: settle(asked, "charged", price=price)]

    done = fixbill(*FLAGS, "--wait", 5)

    assert done.code == 0
    assert done.out.startswith("settled, charged $29.00: fix fix-1 of acme (event evt_")
    assert [asked.headers["Prefer"] for asked in api.asked] == ["wait=5"]


def test_waiting_sends_the_same_event_until_it_is_settled(
    fixbill: Fixbill, api: ScriptedApi
) -> None:
    api.script = [accept, problem(503, "Send the same again."), settle]

    done = fixbill(*FLAGS, "--wait", 5, "--json")

    assert (done.code, done.statuses) == (0, ["settled"])
    assert done.receipts[0]["outcome"] == "credited"
    assert len({asked.body for asked in api.asked}) == 1
    assert len(api.asked) == 3


def test_many_are_sent_first_and_then_waited_for(fixbill: Fixbill, api: ScriptedApi) -> None:
    api.script = [accept, settle]

    done = fixbill(EXAMPLES / "events.jsonl", "--wait", 5, "--json")

    assert (done.code, set(done.statuses)) == (0, {"settled"})
    assert [asked.headers["Prefer"] for asked in api.asked] == [None, "wait=5"]


def test_an_api_that_comes_back_while_we_wait_leaves_nothing_spooled(
    fixbill: Fixbill, api: ScriptedApi, tmp_path: Path
) -> None:
    api.script = [problem(503, "Send the same again."), settle]

    done = fixbill(*FLAGS, "--wait", 5, "--spool", tmp_path, "--json")

    assert (done.code, done.statuses) == (0, ["settled"])
    assert Spool(tmp_path).read() == ([], [])


def test_when_the_time_is_up_it_is_accepted_and_that_is_said(
    fixbill: Fixbill, api: ScriptedApi
) -> None:
    done = fixbill(*FLAGS, "--wait", 1, "--json")

    assert (done.code, done.statuses) == (1, ["accepted"])
    assert done.err == "not settled within 1 s: it is accepted and will be settled\n"


@pytest.mark.parametrize(("status", "code"), [("waiting", 0), ("quarantined", 1)])
def test_waiting_ends_with_any_decision(
    fixbill: Fixbill, api: ScriptedApi, status: str, code: int
) -> None:
    api.script = [lambda asked: accept(asked, status, detail="why that is")]

    done = fixbill(*FLAGS, "--wait", 5, "--json")

    assert (done.code, done.statuses) == (code, [status])
    assert ("why that is" in done.err) == (code == 1)


def test_waiting_needs_the_door_that_answers(fixbill: Fixbill, inbox: Redis) -> None:
    done = fixbill(*FLAGS, "--wait", 5)

    assert done.code == 2
    assert "FIXBILL_API_URL" in done.err
    assert in_inbox(inbox) == []


# The program itself


def fixbill_process(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "worker.cli.main", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, **options)


def modules_after(*words: str) -> tuple[int, set[str]]:
    """The exit code of a call, and the top-level modules it had imported."""
    code = "import sys, worker.cli.main as m; c = m.run(sys.argv[1:]); print(c, *sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=20
    )
    exit_code, *names = ran.stdout.splitlines()[-1].split()
    return int(exit_code), {name.partition(".")[0] for name in names}


def test_help_shows_examples_and_imports_nothing_heavy() -> None:
    code, modules = modules_after("publish", "--help")

    assert code == 0
    assert not modules & HEAVY
    shown = fixbill_process("publish", "--help")
    assert '--github-event "$GITHUB_EVENT_PATH" --if-merged' in shown.stdout


def test_help_of_all_imports_no_command() -> None:
    code, modules = modules_after("--help")

    assert code == 0
    assert not modules & {*HEAVY, "pydantic", "schemas", "producers"}


def test_one_event_through_http_imports_neither_redis_nor_rich(api: ScriptedApi) -> None:
    code, modules = modules_after("publish", *FLAGS)

    assert code == 0
    assert modules & HEAVY == {"urllib3"}


def test_one_event_through_redis_imports_nothing_of_the_worker(inbox: Redis) -> None:
    code, modules = modules_after("publish", *FLAGS)

    assert code == 0
    # redis imports the other two where they are installed.
    assert modules & HEAVY <= {"redis", "opentelemetry", "cryptography"}


def test_the_version_is_told() -> None:
    assert fixbill_process("--version").stdout.startswith("fixbill 0.")


def test_an_unknown_command_is_wrong_usage() -> None:
    ran = fixbill_process("pubish")

    assert (ran.returncode, ran.stdout) == (2, "")
    assert "pubish" in ran.stderr


def test_only_a_signing_key_needs_the_extra_that_is_named(tmp_path: Path, inbox: Redis) -> None:
    (tmp_path / "cryptography.py").write_text("raise ModuleNotFoundError(name='cryptography')")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    key = f"fbs_{'0' * 12}_{'A' * 43}"

    env = {**os.environ, "PYTHONPATH": path}
    unsigned = fixbill_process("publish", *FLAGS, env=env)
    inbox.flushall()
    ran = fixbill_process("publish", *FLAGS, env=env | {"FIXBILL_SIGNING_KEY": key})

    assert unsigned.returncode == 0
    assert ran.returncode == 1
    assert ran.stderr.endswith("pip install 'fixbill[signing]'\n")
    assert len(ran.stderr.splitlines()) == 1
    assert key not in ran.stderr
    assert inbox.keys() == []


def test_a_missing_extra_is_one_line_that_installs_it(tmp_path: Path) -> None:
    for name in ("sqlalchemy", "celery", "redis"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError(name='{name}')")
    path = os.pathsep.join([str(tmp_path), *sys.path])

    env = {**os.environ, "PYTHONPATH": path, "REDIS_URL": "redis://127.0.0.1:1"}
    ran = fixbill_process("publish", *FLAGS, env=env)

    assert ran.returncode == 1
    assert ran.stderr.endswith("pip install 'fixbill[worker]'\n")
    assert len(ran.stderr.splitlines()) == 1


def test_ctrl_c_ends_it_without_a_traceback(api: ScriptedApi) -> None:
    api.script = [Reply(202, b"{}", delay=3)]
    command = [sys.executable, "-m", "worker.cli.main", "publish", *FLAGS]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not api.asked:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=10)

    assert process.returncode == 130
    assert "Traceback" not in said


def test_a_reader_that_has_seen_enough_hears_nothing_more(api: ScriptedApi) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "worker.cli.main", "publish", *FLAGS]
    with open(write, "wb") as closed:
        ran = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, timeout=20)

    assert ran.stderr == b""
