"""P6: every answer says how fresh it is. P7: a customer sees only their own rows."""

from __future__ import annotations

from datetime import UTC, datetime

import urllib3

from tests.running import RunningStack, eventually
from tests.stories.customers import deployed_now, new_customer
from worker.keys import create_key


def test_what_was_accepted_before_as_of_is_in_the_answer(stack: RunningStack) -> None:
    customer = new_customer(stack)
    before = datetime.now(UTC)
    stack.post(deployed_now(customer, 3))
    after = datetime.now(UTC)

    def answered() -> bool:
        usage = stack.get(f"/api/v1/customers/{customer}/usage")
        fresh = datetime.fromisoformat(usage["as_of"])
        assert fresh < after or sum(usage["fixes"].values()) == 3
        return fresh > after

    assert eventually(answered)
    assert before < after


def test_a_key_reads_and_bills_only_its_own_customers(stack: RunningStack) -> None:
    mine, theirs = new_customer(stack), new_customer(stack)
    tools = stack.tools
    key = create_key("mine", ["read", "publish"], [mine], None, tools.engine, tools.clock)
    headers = {"Authorization": f"Bearer {key}"}
    api = stack.env["FIXBILL_API_URL"]

    seen = urllib3.request("GET", f"{api}/api/v1/customers/{mine}/usage", headers=headers)
    hidden = urllib3.request("GET", f"{api}/api/v1/customers/{theirs}/usage", headers=headers)
    nobody = urllib3.request("GET", f"{api}/api/v1/customers/nobody/usage", headers=headers)
    (event,) = deployed_now(theirs, 1)
    url = f"{api}/api/v1/billing/track_fix"
    billed = urllib3.request("POST", url, headers=headers, body=event.to_bytes())

    assert seen.status == 200
    assert (hidden.status, nobody.status) == (404, 404)
    assert hidden.data.replace(theirs.encode(), b"X") == nobody.data.replace(b"nobody", b"X")
    assert billed.status == 403
