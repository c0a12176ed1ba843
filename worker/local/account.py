"""Whom a server runs as. Postgres refuses root, so root lends it another face; no user is made."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from worker.local.errors import ForeignDirectoryError

# Not our own environment: PGPORT or LD_PRELOAD of whoever calls must not reach a server.
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}

# In a user namespace of its own the server sees uid 1000. Outside, its files stay root's,
# so program and data may lie below a directory that only root enters.
NAMESPACE = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")

OUTSIDE = Path("/var/lib/fixbill")  # for what nobody must reach when the data directory is closed


class Identity(TypedDict, total=False):
    """Arguments of subprocess that change the user id."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Account:
    """Whom a server runs as: who owns its files, and what goes before its command."""

    uid: int
    gid: int
    prefix: tuple[str, ...] = ()

    @property
    def identity(self) -> Identity:
        """What a child must change about itself."""
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can_run(self, command: Sequence[str | Path]) -> bool:
        """Return whether a short command starts and ends well."""
        try:
            done = subprocess.run(
                [*self.prefix, *map(str, command)],
                env=ENVIRONMENT,
                cwd="/",
                capture_output=True,
                timeout=30,
                **self.identity,
            )
        except OSError:
            return False
        return done.returncode == 0

    def owns(self, path: Path) -> None:
        """Hand over a file, or a directory with all that is in it."""
        owner = path.stat().st_uid
        if owner == self.uid:
            return
        if os.geteuid() != 0 or owner not in (0, nobody().uid):
            raise ForeignDirectoryError(path, owner)
        # The top comes last: it says that everything below is done.
        for each in (*path.rglob("*"), path):
            os.chown(each, self.uid, self.gid, follow_symlinks=False)


def ourselves() -> Account:
    """Return the account of this process."""
    return Account(os.geteuid(), os.getegid())


def nobody() -> Account:
    """Return the account every system has and no person uses."""
    entry = pwd.getpwnam("nobody")
    return Account(entry.pw_uid, entry.pw_gid)


def unprivileged(program: Path) -> Account:
    """Return the account to run the program as: ours, a namespace's, or nobody's."""
    us = ourselves()
    if us.uid != 0:
        return us
    namespaced = Account(us.uid, us.gid, NAMESPACE)
    return namespaced if namespaced.can_run([program, "--version"]) else nobody()


def place_for(account: Account, home: Path, name: str) -> Path:
    """Return where the account keeps part of a home: in it or, if it may not enter, outside."""
    link = home / name
    inside = link.exists() and not link.is_symlink()
    if not account.identity or inside or anybody_enters(home.parent):
        return link.resolve()
    outside = OUTSIDE / hashlib.sha256(bytes(home)).hexdigest()[:16] / name
    if not link.is_symlink():
        # Whatever lies there belonged to a home that was wiped since.
        shutil.rmtree(outside, ignore_errors=True)
        link.symlink_to(outside)
    OUTSIDE.mkdir(parents=True, exist_ok=True)
    OUTSIDE.chmod(0o755)  # whatever our umask
    return outside


def readable_programs(bin_dir: Path, account: Account, home: Path) -> Path:
    """Return the programs' directory, copied to where the account can read it if need be."""
    if not account.identity or anybody_enters(bin_dir):
        return bin_dir
    package = bin_dir.parent.parent if bin_dir.parent.name == "pginstall" else bin_dir.parent
    # A wheel keeps its shared libraries next to the package; without them nothing starts.
    wanted = [package, *package.parent.glob(f"{package.name}.libs")]
    copies = place_for(account, home, "programs")
    shutil.rmtree(copies, ignore_errors=True)
    skip = shutil.ignore_patterns("include", "__pycache__")
    for each in wanted:
        shutil.copytree(each, copies / each.name, symlinks=True, ignore=skip)
    account.owns(copies)
    return copies / package.name / bin_dir.relative_to(package)


def anybody_enters(directory: Path) -> bool:
    """Return whether every user may go to that directory."""
    return all(p.stat().st_mode & stat.S_IXOTH for p in (directory, *directory.parents))
