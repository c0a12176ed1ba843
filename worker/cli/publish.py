"""`fixbill publish`: what a pipeline calls when a fix has reached its customer's main branch."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from producers.doors import (
    CHUNK,
    Answered,
    BadAddress,
    Door,
    ask_again,
    deliver,
    redis_door,
)
from producers.reading import FILE_BYTES_MAX, BadFile, events_in
from producers.spool import Contents, Spool, home_for
from schemas.events import DEPLOYED, REVERTED, BadEvent, Event, validated
from schemas.ids import new_id
from schemas.receipts import Receipt, receipt
from worker.cli.main import REFUSED_OR_FAILED, SPOOLED, WRONG_USAGE
from worker.cli.show import print_json, visible
from worker.settings import MissingSetting, Settings, settings

if TYPE_CHECKING:
    from producers.api_door import ApiDoor
    from producers.signing import Signer

EXPECTED = (BadAddress,)
LINES_SHOWN = 20  # above that, a summary

# One of these brings the events; without any of them the flags do.
SOURCES = {"file": "FILE", "github_event": "--github-event", "flush": "--flush"}
FLAGS = {
    "customer": "--customer",
    "fix_id": "--fix-id",
    "repository": "--repository",
    "commit": "--commit",
    "pull_request": "--pull-request",
    "finding": "--finding",
    "source": "--source",
    "event_id": "--event-id",
    "time": "--time",
    "reverted": "--reverted",
    "if_merged": "--if-merged",
}
GOES_WITH = {
    "": set(FLAGS) - {"if_merged"},
    "file": set[str](),
    "flush": set[str](),
    "github_event": {"customer", "finding", "if_merged"},
}
NEEDED = ("customer", "fix_id", "repository", "commit")
# An event's fields, where flags have shorter names.
FLAG_OF = {"customer_id": "customer", "commit_sha": "commit", "id": "event_id", "subject": "fix_id"}

EXAMPLES = """\b
Examples:
  # the end of a deploy job
  fixbill publish --customer acme --fix-id CVE-2026-1234-web \\
    --repository github.com/acme/web --commit "$GITHUB_SHA"
\b
  # a workflow on pull_request: closed; passes over what was not merged
  fixbill publish --customer acme --github-event "$GITHUB_EVENT_PATH" --if-merged
\b
  # many at once: one event, a JSON array or JSON lines, from a file or a pipe
  fixbill publish events.jsonl
  make-events | fixbill publish -
\b
  # wait up to 30 seconds for what becomes of it
  fixbill publish event.json --wait 30 --json

Either all events of a call are sound, or none is sent (exit 2). Sending an event twice is safe:
whatever fails, send the same again. What no door took is kept in a spool on this machine and goes
out with the next publish; where CI is set, only if --spool or FIXBILL_SPOOL names a directory.

Exit codes: 0 done, 1 refused, quarantined, not delivered or not settled in time, 2 wrong usage,
3 spooled.
"""


class BadInput(click.ClickException):
    """What was to be published cannot be understood."""

    exit_code = WRONG_USAGE


@click.command("publish", epilog=EXAMPLES)
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--customer", metavar="ID", help="Whose fix it is; else FIXBILL_CUSTOMER.")
@click.option("--fix-id", metavar="ID", help="The fix, the same however often it is sent.")
@click.option("--repository", metavar="NAME", help="Such as github.com/acme/web.")
@click.option("--commit", metavar="SHA", help="The commit on the main branch.")
@click.option("--pull-request", type=int, metavar="NUMBER", help="The pull request, if any.")
@click.option("--finding", metavar="ID", help="What was fixed, such as CVE-2026-1234.")
@click.option("--source", metavar="NAME", help="Who says so; else the repository.")
@click.option("--event-id", metavar="ID", help="To send an event of before again; else a new one.")
@click.option("--time", metavar="TIME", help="When it was deployed (RFC 3339); else now.")
@click.option("--reverted", is_flag=True, help="The fix was taken back.")
@click.option("--github-event", type=click.File("rb"), help="GitHub's pull_request payload.")
@click.option("--if-merged", is_flag=True, help="With it: pass over what is not merged, exit 0.")
@click.option(
    "--wait", type=click.IntRange(1, 3600), metavar="SECONDS", help="Wait for what becomes of it."
)
@click.option("--spool", type=click.Path(file_okay=False, path_type=Path), help="Keep it there.")
@click.option("--flush", is_flag=True, help="Only deliver what is spooled.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list of receipts on stdout.")
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> int:
    """Say that a fix reached its customer's main branch.

    The event comes from the flags, from FILE (- is standard input) or from GitHub's payload.
    """
    refuse_mixture(ctx)
    config = settings()
    options["customer"] = options["customer"] or config.fixbill_customer
    try:
        events = events_of(options)
    except (BadFile, BadEvent) as error:
        raise BadInput(f"nothing was sent: {error}") from None
    if not events and not options["flush"]:
        report([], options, None)
        return 0
    return publish(events, options, config)


def refuse_mixture(ctx: click.Context) -> None:
    """A flag that would be ignored is a mistake worth a word."""
    given = {n for n in ctx.params if ctx.get_parameter_source(n) is ParameterSource.COMMANDLINE}
    sources = sorted(given & set(SOURCES))
    if len(sources) > 1:
        raise click.UsageError(f"Take one of {', '.join(SOURCES[name] for name in sources)}.")
    source = sources[0] if sources else ""
    if lost := sorted((given & set(FLAGS)) - GOES_WITH[source]):
        beside = f"beside {SOURCES[source]}" if source else "without --github-event"
        raise click.UsageError(f"{FLAGS[lost[0]]} means nothing {beside}.")


def events_of(options: dict[str, Any]) -> list[Event]:
    """The events of this call, none if it is passed over; raises BadFile or BadEvent."""
    if options["flush"]:
        return []
    if options["file"]:
        return events_in(options["file"].read(FILE_BYTES_MAX + 1))
    if options["github_event"] is None:
        return [event_from_flags(options)]
    if options["customer"] is None:
        raise click.UsageError("Say whose fix it is with --customer or FIXBILL_CUSTOMER.")
    return fix_of_github(options)


def fix_of_github(options: dict[str, Any]) -> list[Event]:
    """The fix that the payload tells of; none where one that is not merged is passed over."""
    from producers.github import PAYLOAD_BYTES_MAX, NotMerged, event_from_github  # slow to import

    payload = options["github_event"].read(PAYLOAD_BYTES_MAX + 1)
    try:
        return [event_from_github(payload, options["customer"], options["finding"])]
    except NotMerged as error:
        if not options["if_merged"]:
            raise click.ClickException(f"this is no fix: {error}") from None
        click.echo(f"nothing to publish: {error}", err=True)
        return []


def event_from_flags(flags: dict[str, Any]) -> Event:
    """One event; what is wrong is said in the name of its flag."""
    if missing := [FLAGS[name] for name in NEEDED if not flags[name]]:
        raise click.UsageError(f"Give {', '.join(missing)}; or a FILE, or - for standard input.")
    data = {
        "customer_id": flags["customer"],
        "fix_id": flags["fix_id"],
        "repository": flags["repository"],
        "commit_sha": flags["commit"],
        "pull_request": flags["pull_request"],
        "finding": flags["finding"],
    }
    document = {
        "specversion": "1.0",
        "id": flags["event_id"] or new_id("evt"),
        "source": flags["source"] or flags["repository"],
        "type": REVERTED if flags["reverted"] else DEPLOYED,
        "time": flags["time"] or datetime.now(UTC),
        "subject": flags["fix_id"],
        "data": data,
    }
    try:
        return validated(document)
    except BadEvent as error:
        field = error.field.removeprefix("data.")
        flag = FLAGS[FLAG_OF.get(field, field)]
        raise click.UsageError(f"{flag}: {error.problem}") from None


def publish(events: list[Event], options: dict[str, Any], config: Settings) -> int:
    """Send them, and before them what is spooled; say what became of each."""
    api, spool, wait = api_door(config), spool_of(options["spool"], config), options["wait"] or 0
    if wait and api is None:
        raise click.UsageError("--wait needs the HTTP door: set FIXBILL_API_URL.")
    if options["flush"] and spool is None:
        raise click.UsageError("Where CI is set, nothing is spooled unless --spool names a place.")
    deadline = time.monotonic() + wait
    earlier = spool.read() if spool else Contents([], [])
    everything = [*earlier.events, *events]
    doors = doors_of(api, config, wait if len(everything) == 1 else 0)
    with progress(len(everything)) as advance:
        answers = deliver(everything, doors, spool, advance)
    if api and wait:
        start = len(earlier.events)
        answers[start:] = ask_again(events, answers[start:], api.send, deadline)
    if spool:
        answered = zip(everything, answers, strict=True)
        spool.forget(event for event, answer in answered if is_taken(answer))
    start = 0 if options["flush"] else len(earlier.events)
    tell_of_spool(answers[:start], earlier)
    report(answers[start:], options, spool)
    stuck = bool(options["flush"] and earlier.unreadable)
    return REFUSED_OR_FAILED if stuck else exit_code(answers[start:], wait)


def api_door(config: Settings) -> ApiDoor | None:
    if config.fixbill_api_url is None:
        return None
    from producers.api_door import ApiDoor  # here, because only those who use HTTP should wait

    return ApiDoor(config.fixbill_api_url, config.need("fixbill_api_key"))


def doors_of(api: ApiDoor | None, config: Settings, wait: int) -> list[Door]:
    """HTTP where that is set, then Redis where that is."""
    doors: list[Door] = [partial(api.send, wait=wait)] if api else []
    if config.inbox_redis_url or config.redis_url:
        doors.append(redis_door(config.inbox_url(), signer_of(config)))
    if not doors:
        raise MissingSetting("set FIXBILL_API_URL and FIXBILL_API_KEY, or REDIS_URL")
    return doors


def signer_of(config: Settings) -> Signer | None:
    if config.fixbill_signing_key is None:
        return None
    from producers.signing import Signer  # here, because it needs an extra

    return Signer.of(config.need("fixbill_signing_key"))


def spool_of(directory: Path | None, config: Settings) -> Spool | None:
    """The directory that was named, else one in the home directory; there is none in CI.

    A CI machine goes after the job, and its disk with it: there, failing is honest.
    """
    if named := directory or config.fixbill_spool:
        return Spool(named)
    if config.ci or not (config.fixbill_api_url or config.inbox_redis_url or config.redis_url):
        return None
    home = home_for(config.fixbill_api_url or config.inbox_url())
    return Spool(home) if home else None


def is_taken(answer: Answered) -> bool:
    """Fixbill has it."""
    return isinstance(answer, Receipt) and answer.status not in {"spooled", "refused"}


@contextmanager
def progress(count: int) -> Iterator[Callable[[int], object] | None]:
    """A bar on a terminal, when there is more than one round trip to watch."""
    if count <= CHUNK or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("publishing", total=count)
        yield lambda done: bar.advance(task, done)


def report(answers: Sequence[Answered], options: dict[str, Any], spool: Spool | None) -> None:
    """Receipts on stdout; what to know or do on stderr, once for each reason."""
    receipts = [receipt_of(answer) for answer in answers]
    if options["as_json"]:
        print_json(receipts)
    elif len(receipts) > LINES_SHOWN:
        counts = Counter(each.outcome or each.status for each in receipts)
        click.echo(", ".join(f"{count:,} {what}" for what, count in counts.most_common()))
    else:
        for each in receipts:
            click.echo(line_of(each))
    tell(trouble_of(each, options["wait"], spool) for each in receipts)


def receipt_of(answer: Answered) -> Receipt:
    if isinstance(answer, Receipt):
        return answer
    why = f"not delivered, send the same again: {answer.why}"
    return receipt(answer.event, "refused", why)


def line_of(each: Receipt) -> str:
    what = " ".join(str(part) for part in (each.outcome, each.price) if part)
    status = f"{each.status}, {what}" if what else each.status
    return visible(f"{status}: fix {each.fix_id} of {each.customer_id} (event {each.event_id})")


def trouble_of(each: Receipt, wait: int | None, spool: Spool | None) -> str | None:
    if each.status == "spooled" and spool:
        return f"kept in {spool.directory} until the next publish: {each.detail}"
    if each.status == "accepted" and wait:
        return f"not settled within {wait} s: it is accepted and will be settled"
    return f"{each.status}: {each.detail}" if each.status in {"refused", "quarantined"} else None


def tell_of_spool(before: Sequence[Answered], earlier: Contents) -> None:
    """What a publish did beside its own events."""
    taken = sum(is_taken(answer) for answer in before)
    refused = [each for each in before if isinstance(each, Receipt) and each.status == "refused"]
    tell(["delivered what was spooled earlier" for _ in range(taken)])
    tell(f"refused, so it stays in the spool: {each.detail}" for each in refused)
    tell(f"stays in the spool, {file} holds no event: {why}" for file, why in earlier.unreadable)


def tell(sentences: Iterable[str | None]) -> None:
    for sentence, count in Counter(sentences).items():
        if sentence:
            click.echo(
                visible(f"{sentence} ({count:,} events)" if count > 1 else sentence), err=True
            )


def exit_code(answers: Sequence[Answered], wait: int) -> int:
    statuses = {receipt_of(answer).status for answer in answers}
    if statuses & {"refused", "quarantined"} or (wait and "accepted" in statuses):
        return REFUSED_OR_FAILED
    return SPOOLED if "spooled" in statuses else 0
