"""Table of contents: every kind of object the sandbox keeps."""

from __future__ import annotations

from worker.sandbox import charges, customers, events, payment_intents, payment_methods

KINDS = {
    kind.path: kind
    for kind in (
        customers.KIND,
        payment_methods.KIND,
        payment_intents.KIND,
        charges.KIND,
        events.KIND,
    )
}
