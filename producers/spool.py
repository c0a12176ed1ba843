"""A spool on disk: events that no door took, delivered by the next publish."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from schemas.events import BadEvent, Event, parse_event
from schemas.inbox import EVENT_BYTES_MAX


class Contents(NamedTuple):
    """What lies in a spool: events, oldest first, and files that hold none, with the reason."""

    events: list[Event]
    unreadable: list[tuple[Path, str]]


@dataclass(frozen=True, slots=True)
class Spool:
    """One file an event, named by what it says: kept twice, it lies there as it was first kept."""

    directory: Path

    def keep(self, events: Sequence[Event]) -> None:
        """On disk when this returns: written aside, synced, renamed, the directory synced."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        now = time.time_ns()
        for index, event in enumerate(events):
            file = self.file_of(event)
            if not holds_event(file):
                # The times tell the order in which to deliver; a batch may fit in one clock tick.
                write_whole(file, event.to_bytes(), time_ns=now + index)
        sync_directory(self.directory)

    def read(self) -> Contents:
        """Everything here; nothing is ever removed because it could not be read."""
        contents = Contents([], [])
        for file in self.files():
            try:
                contents.events.append(parse_event(read_regular(file)))
            except FileNotFoundError:  # delivered by another publish meanwhile
                continue
            except (BadEvent, OSError) as error:
                contents.unreadable.append((file, str(error)))
        return contents

    def files(self) -> list[Path]:
        found = []
        for file in self.directory.glob("*.json"):
            with suppress(FileNotFoundError):
                found.append((file.lstat().st_mtime_ns, file))
        return [file for _, file in sorted(found)]

    def forget(self, events: Iterable[Event]) -> None:
        """They were accepted."""
        for event in events:
            self.file_of(event).unlink(missing_ok=True)

    def file_of(self, event: Event) -> Path:
        # The body counts: a second, different event under one id must not push out the first.
        identity = "\x1f".join((event.customer_id, event.source, event.id, event.body_hash.hex()))
        return self.directory / f"{sha256(identity.encode()).hexdigest()[:32]}.json"


def home_for(address: str) -> Path | None:
    """A spool in the home directory for what is meant for this address; None for the homeless.

    One for each: what was meant for one installation must not be billed by another.
    """
    url = urlsplit(address)
    host = url.netloc.rpartition("@")[2]  # never the password
    name = re.sub(r"[^a-z0-9.-]+", "_", f"{host}{url.path}".lower()).strip("_.") or "default"
    try:
        return Path.home() / ".local" / "state" / "fixbill" / "spool" / name
    except RuntimeError:  # a container's user that has no entry and no HOME
        return None


def holds_event(file: Path) -> bool:
    try:
        parse_event(read_regular(file))
    except (BadEvent, OSError):
        return False
    return True


def read_regular(file: Path) -> bytes:
    """The bytes of a file, no more than an event may have and one; a pipe is not waited for."""
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb") as opened:
        return opened.read(EVENT_BYTES_MAX + 1) or b""


def write_whole(file: Path, body: bytes, time_ns: int) -> None:
    """The whole file or none, whenever the machine stops."""
    aside = file.with_suffix(f".{os.getpid()}-{time_ns}.part")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(body)
            out.flush()
            os.utime(aside, ns=(time_ns, time_ns))
            os.fsync(out.fileno())
        aside.replace(file)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def sync_directory(directory: Path) -> None:
    """The rename itself has to reach the disk."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
