"""A supervisor to kill: starts both servers, says so, and stops them in order on Ctrl-C.

python -m tests.local.supervisor DIR [main|thread]
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import psycopg
import redis

from worker.local.postgres import Postgres
from worker.local.valkey import Valkey


def supervise(directory: Path, starter: str) -> None:
    servers: list[Postgres | Valkey] = []

    def start() -> None:
        servers.extend([Postgres.start(directory), Valkey.start(directory)])

    if starter == "thread":
        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
    else:
        start()
    postgres, valkey = servers
    try:
        say({"postgres": postgres.pid, "valkey": valkey.pid, "url": postgres.url})
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        time.sleep(0.2)  # a signal that reached the servers too would show by now
        psycopg.connect(postgres.url).close()
        with redis.Redis.from_url(valkey.url) as client:
            client.ping()
        valkey.stop()
        postgres.stop()
        say({"answered": True})


def say(what: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    supervise(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "main")
