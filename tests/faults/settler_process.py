"""A settler in a process of its own, to be frozen or killed: DATABASE REDIS SILENCE."""

import sys

from worker import inbox
from worker.clock import Clock
from worker.settler import Settler, partitions_of
from worker.storage.engine import WORKER, connect

if __name__ == "__main__":
    database, redis, silence = sys.argv[1:]
    settler = Settler(connect(database, WORKER), inbox.connect(redis), Clock(), silence, True)
    while True:
        settler.turn(partitions_of(0, 1), lambda: False)
