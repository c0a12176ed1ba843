"""A spool on disk: events that no door took, delivered by the next publish."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from schemas.events import BadEvent, Event, parse_event


@dataclass(frozen=True, slots=True)
class Spool:
    """One file an event, named by its identity: keeping it twice keeps it once."""

    directory: Path

    def keep(self, event: Event) -> Path:
        """On disk when this returns: written aside, synced, then renamed into place."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = self.file_of(event)
        aside = file.with_suffix(f".{os.getpid()}.part")
        with aside.open("wb") as out:
            out.write(event.to_bytes())
            out.flush()
            os.fsync(out.fileno())
        aside.replace(file)
        sync_directory(self.directory)
        return file

    def events(self) -> Iterator[Event]:
        """What lies here, oldest first; a file that holds no event is left for a person."""
        for file in self.files():
            try:
                yield parse_event(file.read_bytes())
            except (BadEvent, FileNotFoundError):  # delivered by another publish meanwhile
                continue

    def files(self) -> list[Path]:
        if not self.directory.is_dir():
            return []
        found = [(file.stat().st_mtime_ns, file) for file in self.directory.glob("*.json")]
        return [file for _, file in sorted(found)]

    def forget(self, event: Event) -> None:
        """It was accepted."""
        self.file_of(event).unlink(missing_ok=True)

    def file_of(self, event: Event) -> Path:
        identity = "\x1f".join((event.customer_id, event.source, event.id))
        return self.directory / f"{sha256(identity.encode()).hexdigest()[:32]}.json"


def sync_directory(directory: Path) -> None:
    """The rename itself has to reach the disk."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
