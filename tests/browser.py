"""A real Chromium: the one that is there, or one that apt installs; else a reason why not."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INSTALL_SECONDS = 300
UPDATE = ["apt-get", "update", "-qq"]
INSTALL = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
FAILED_FOR = 600  # seconds that other processes do not try again


def path_of_chromium() -> str:
    """Skips the test, and says what is missing, where there is none."""
    if os.environ.get("FIXBILL_NO_BROWSER") == "1":
        pytest.skip("FIXBILL_NO_BROWSER=1: no browser is wanted")
    found = found_chromium()
    if found is not None:
        return found
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip(f"no browser: install one of {', '.join(NAMES)}")
    why = install()
    found = found_chromium()
    if found is None:
        pytest.skip(f"no browser, and apt-get could not install chromium: {why}")
    return found


def found_chromium() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


def install() -> str:
    """One process does, the others wait for it and believe it. Says why if it could not."""
    told = Path(tempfile.gettempdir()) / f"fixbill-browser-{os.getuid()}"
    with told.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        known = file.read()
        if found_chromium() or (known and time.time() - told.stat().st_mtime < FAILED_FOR):
            return known
        why = next(filter(None, map(problem_of, (UPDATE, INSTALL))), "")
        file.truncate(0)
        file.write(why)
        return why


def problem_of(command: list[str]) -> str | None:
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command, env=quiet, capture_output=True, text=True, timeout=INSTALL_SECONDS / 2
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{' '.join(command[:2])}: {type(error).__name__}"
    last = done.stderr.strip().splitlines()[-1:] or ["failed"]
    return last[0] if done.returncode else None


@contextmanager
def running_browser() -> Iterator[Browser]:
    """While it runs, asyncio.run() does not work in this thread."""
    path = path_of_chromium()
    with sync_playwright() as playwright:
        # Root has no sandbox in a container; /dev/shm may be small there.
        flags = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-sync"]
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        try:
            yield browser
        finally:
            browser.close()
