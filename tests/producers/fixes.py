"""Events for tests about how they travel."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from schemas.events import DEPLOYED, ID_PATTERN, REVERTED, Event, validated

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
MERGED = "merged-storefront-lodash.json"


def document(name: str = "one", customer: str = "acme", **changes: Any) -> dict[str, Any]:
    """An event as JSON has it; `data__…` changes what is inside."""
    data = {
        "customer_id": customer,
        "fix_id": f"fix-{name}",
        "repository": "github.com/acme/web",
        "commit_sha": "c" * 40,
    }
    whole = {
        "specversion": "1.0",
        "id": f"evt-{name}",
        "source": "github.com/acme/web",
        "type": DEPLOYED,
        "time": "2026-03-01T12:00:00Z",
        "subject": f"fix-{name}",
        "data": data,
    }
    for key, value in changes.items():
        inside, plain = (data, key[6:]) if key.startswith("data__") else (whole, key)
        inside[plain] = value
    return whole


def fix(name: str = "one", customer: str = "acme", **changes: Any) -> Event:
    return validated(document(name, customer, **changes))


def some_fixes(count: int) -> list[Event]:
    return [fix(str(number)) for number in range(count)]


def largest_fix() -> Event:
    """Every field as long as it may be."""
    return fix(
        "x" * 124,
        "c" * 128,
        id="i" * 128,
        source="s" * 256,
        time="2026-03-01T12:00:00.123456+00:00",
        traceparent=f"00-{'a' * 32}-{'b' * 16}-01",
        data__repository="r" * 200,
        data__commit_sha="c" * 64,
        data__pull_request=2**31 - 1,
        data__finding="f" * 128,
    )


ids = st.from_regex(ID_PATTERN, fullmatch=True)


@st.composite
def any_event(draw: st.DrawFn) -> Event:
    """Any event at all."""
    fix_id = draw(ids)
    return validated(
        {
            "specversion": "1.0",
            "id": draw(ids),
            "source": draw(st.from_regex(r"[A-Za-z0-9._:/@~+-]{1,256}", fullmatch=True)),
            "type": draw(st.sampled_from([DEPLOYED, REVERTED])),
            "time": draw(st.datetimes(timezones=st.just(UTC))),
            "subject": fix_id,
            "data": {
                "customer_id": draw(ids),
                "fix_id": fix_id,
                "repository": draw(st.from_regex(r"[A-Za-z0-9._/-]{1,200}", fullmatch=True)),
                "commit_sha": draw(st.from_regex(r"[0-9A-Fa-f]{7,64}", fullmatch=True)),
                "pull_request": draw(st.none() | st.integers(1, 2**31 - 1)),
                "finding": draw(st.none() | ids),
            },
        }
    )
