"""A settler whose process dies with an entry in hand, at the Postgres and Redis it is given.

Settling asks the clock first, so this is where it dies, as if the kernel had killed it.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime

from worker import inbox
from worker.clock import Clock
from worker.settler import Settler, partitions_of
from worker.storage.engine import WORKER, connect

EXIT_CODE = 9


class DeadlyClock(Clock):
    """Nobody lives to hear what time it is."""

    def now(self) -> datetime:
        os._exit(EXIT_CODE)


if __name__ == "__main__":
    settler = Settler(connect(sys.argv[1], WORKER), inbox.connect(sys.argv[2]), DeadlyClock())
    settler.turn(partitions_of(0, 1), stopping=lambda: False)
