"""A sweep of cycles in a process of its own, to be killed: DATABASE REDIS SECONDS-AHEAD.

It prints how many books time has changed.
"""

import sys
from datetime import timedelta

from worker import inbox
from worker.clock import Clock
from worker.inbox import Inbox
from worker.rollover import roll_over_due
from worker.storage.engine import WORKER, connect

if __name__ == "__main__":
    database, redis, ahead = sys.argv[1:]
    clock = Clock(timedelta(seconds=float(ahead)))
    box = Inbox(inbox.connect(redis))
    print(roll_over_due(connect(database, WORKER), box, clock, all_now=True))  # noqa: T201
