"""Ids that say what they are and sort by when they were made."""

import os
import time


def new_id(prefix: str) -> str:
    """`prefix_` and a UUIDv7 (RFC 9562) in hex.

    Never a sequence: a database restored from a backup would count the same numbers again and
    meet the idempotency keys of its own lost future at Stripe.
    """
    milliseconds = time.time_ns() // 1_000_000
    chance = int.from_bytes(os.urandom(10), "big")
    value = milliseconds << 80 | 0x7 << 76 | chance >> 68 << 64 | 0b10 << 62
    return f"{prefix}_{value | chance & (1 << 62) - 1:032x}"
