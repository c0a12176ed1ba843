"""GitHub's `pull_request` payload, as a workflow finds it at $GITHUB_EVENT_PATH, as an event."""

from __future__ import annotations

from re import fullmatch
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, StringConstraints, ValidationError

from schemas.events import (
    ID_PATTERN,
    ID_RULE,
    BadEvent,
    CommitSha,
    Event,
    Time,
    derived_fix_id,
    explained,
    parse_json,
    validated,
)

PAYLOAD_BYTES_MAX = 25 * 1024 * 1024  # GitHub sends no webhook above 25 MB
PAYLOAD_DEPTH_MAX = 32

# Payloads of other events carry a pull request too, beside one of these.
OTHER_EVENTS = {
    "review": "pull_request_review",
    "comment": "pull_request_review_comment",
    "thread": "pull_request_review_thread",
    "issue": "issue_comment",
    "workflow_run": "workflow_run",
    "check_run": "check_run",
    "check_suite": "check_suite",
}

# What an event complains about, in the words of the payload it was made from.
ORIGIN = {
    "data.customer_id": "customer",
    "data.finding": "finding",
    "data.repository": "repository.full_name",
    "source": "repository.html_url",
}


class BadPayload(BadEvent):
    """This is no `pull_request` payload, or not a sound one."""


class NotMerged(BadEvent):
    """A sound payload of a pull request that is not merged into the default branch."""


Number = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]
RepositoryId = Annotated[int, Field(strict=True, ge=1, le=2**63 - 1)]
Branch = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class Repository(BaseModel):
    id: RepositoryId
    full_name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$")]
    html_url: Annotated[str, StringConstraints(max_length=500)]
    default_branch: Branch


class BaseRepository(BaseModel):
    id: RepositoryId


class Base(BaseModel):
    ref: Branch
    repo: BaseRepository


class PullRequest(BaseModel):
    number: Number
    merged: Annotated[bool, Field(strict=True)]
    merged_at: Time | None
    merge_commit_sha: CommitSha | None
    base: Base


class Payload(BaseModel):
    """What we read of it; GitHub's own names."""

    action: str
    pull_request: PullRequest
    repository: Repository


def event_from_github(body: bytes, customer_id: str, finding: str | None = None) -> Event:
    """The fix this payload tells of; raises BadPayload or NotMerged.

    Everything in the event comes from the payload, so a workflow that runs again says the same.
    """
    payload = parse_payload(body)
    refuse_unmerged(payload)
    pull_request, repository = payload.pull_request, payload.repository
    if finding is not None and not fullmatch(ID_PATTERN, finding):
        raise BadPayload("finding", f"must be {ID_RULE}")
    host = host_of(repository)
    fix_id = derived_fix_id(host, repository.id, pull_request.number, finding or "")
    name = f"{host}/{repository.full_name}"
    return event_of(
        {
            "specversion": "1.0",
            "id": f"{fix_id}.deployed",
            "source": name,
            "type": "com.fixbill.fix.deployed.v1",
            "time": pull_request.merged_at,
            "subject": fix_id,
            "data": {
                "customer_id": customer_id,
                "fix_id": fix_id,
                "repository": name,
                "commit_sha": pull_request.merge_commit_sha,
                "pull_request": pull_request.number,
                "finding": finding,
            },
        }
    )


def parse_payload(body: bytes) -> Payload:
    """The payload in these bytes; raises BadPayload."""
    try:
        document = parse_json(body, PAYLOAD_BYTES_MAX, PAYLOAD_DEPTH_MAX)
        refuse_other_events(document)
        return Payload.model_validate(document)
    except ValidationError as error:
        problem = explained(error)
    except BadEvent as error:
        problem = error
    raise BadPayload(problem.field or "payload", problem.problem)


def refuse_other_events(document: Any) -> None:
    if not isinstance(document, dict):
        raise BadPayload("payload", "must be a JSON object: GitHub's pull_request payload")
    for key, name in OTHER_EVENTS.items():
        if key in document:
            raise BadPayload(key, f"belongs to a {name} payload; only pull_request tells of a fix")
    if "pull_request" not in document:
        raise BadPayload("pull_request", "is missing; this is not a pull_request payload")


def refuse_unmerged(payload: Payload) -> None:
    """Only what has reached the default branch is a fix."""
    pull_request, branch = payload.pull_request, payload.repository.default_branch
    if payload.action != "closed":
        raise NotMerged("action", f'is "{payload.action}"; a fix is a pull request that is closed')
    if not pull_request.merged:
        raise NotMerged("pull_request.merged", "is false: it was closed without being merged")
    if pull_request.base.repo.id != payload.repository.id:
        raise BadPayload("pull_request.base.repo.id", "is another repository than repository.id")
    if pull_request.base.ref != branch:
        why = f'is "{pull_request.base.ref}"; the default branch is "{branch}"'
        raise NotMerged("pull_request.base.ref", why)
    for field in ("merged_at", "merge_commit_sha"):
        if getattr(pull_request, field) is None:
            raise BadPayload(f"pull_request.{field}", "is null though the pull request is merged")


def host_of(repository: Repository) -> str:
    """github.com, or the company's own: ids count per host."""
    try:
        url = urlsplit(repository.html_url)
        host = url.hostname  # without a port: a name in an event has none
    except ValueError:
        host = None
    if not host or url.scheme not in {"https", "http"} or url.path != f"/{repository.full_name}":
        why = "must be the repository's page, such as https://github.com/org/repo"
        raise BadPayload("repository.html_url", why)
    return host


def event_of(document: dict[str, Any]) -> Event:
    try:
        return validated(document)
    except BadEvent as error:
        raise BadPayload(ORIGIN.get(error.field, error.field), error.problem) from None
