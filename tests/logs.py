"""Logs of the test process itself: a line each."""

from __future__ import annotations

import structlog


def write_plainly() -> None:
    """By default an error is written with every frame's variables, which can take a minute."""
    structlog.reset_defaults()
    structlog.configure(
        [
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=repr),
        ]
    )
