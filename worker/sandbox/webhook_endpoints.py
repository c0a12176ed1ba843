"""Webhook endpoints: which addresses want which events, and the secrets that sign for them."""

from __future__ import annotations

import secrets

from worker.sandbox.errors import JsonObject, invalid, missing_object
from worker.sandbox.events import API_VERSION, send_again
from worker.sandbox.kind import Kind
from worker.sandbox.later import DAY
from worker.sandbox.params import assign, boolean, choices, refuse, web_address
from worker.sandbox.store import Tx, new_id

# The endpoint of `--webhook-url`.
COMMAND_LINE = "we_command_line"


def create(tx: Tx, params: JsonObject) -> JsonObject:
    """A new address; the answer is the only one that tells its secret."""
    refuse(params, ("connect",))
    if params.get("api_version", API_VERSION) != API_VERSION:
        raise invalid(f"The sandbox writes events as of {API_VERSION}.", param="api_version")
    endpoint = _blank(tx, new_id("we"))
    _take(endpoint, params)
    tx.add(endpoint)
    return {**endpoint, "secret": _new_secret(tx, endpoint["id"])}


def _blank(tx: Tx, endpoint_id: str) -> JsonObject:
    return {
        "id": endpoint_id,
        "object": "webhook_endpoint",
        "api_version": API_VERSION,
        "application": None,
        "created": tx.now,
        "description": None,
        "enabled_events": ["*"],
        "livemode": False,
        "metadata": {},
        "status": "enabled",
        "url": None,
    }


def _take(endpoint: JsonObject, params: JsonObject) -> None:
    web_address(params, "url")
    if "enabled_events" in params:
        endpoint["enabled_events"] = _events(params["enabled_events"])
    if "disabled" in params:
        endpoint["status"] = "disabled" if boolean(params, "disabled") else "enabled"
    assign(endpoint, params, ("url", "description"))


def _events(wanted: object) -> list[str]:
    """`*` or a list of the events the SDK knows."""
    if not isinstance(wanted, list) or not wanted:
        raise invalid("Invalid array", param="enabled_events")
    known = choices("webhook_endpoint", "create", "enabled_events")
    for place, name in enumerate(wanted):
        if name not in known:
            raise invalid(
                f"Invalid enabled_events[{place}]: {name} is no event",
                param=f"enabled_events[{place}]",
            )
    return wanted


def update(tx: Tx, endpoint: JsonObject, params: JsonObject) -> JsonObject:
    """Another address, other events, or silence."""
    _take(endpoint, params)
    tx.replace(endpoint)
    return endpoint


def delete(tx: Tx, endpoint: JsonObject, _params: JsonObject) -> JsonObject:
    """No more deliveries, not even those that wait."""
    tx.db.execute("DELETE FROM webhook_secrets WHERE endpoint = ?", (endpoint["id"],))
    tx.db.execute(
        "DELETE FROM webhook_deliveries WHERE endpoint = ? AND state != 'delivered'",
        (endpoint["id"],),
    )
    tx.remove(endpoint["id"])
    return {"id": endpoint["id"], "object": "webhook_endpoint", "deleted": True}


def from_command_line(tx: Tx, url: str | None, secret: str) -> None:
    """Keep the endpoint of the command line as it is now; without an address there is none.

    A secret seen before changes nothing, so that a restart does not undo a roll.
    """
    endpoint = tx.find("webhook_endpoint", COMMAND_LINE)
    if url is None:
        if endpoint:
            delete(tx, endpoint, {})
        return
    if endpoint is None:
        endpoint = _blank(tx, COMMAND_LINE)
        tx.add(endpoint)
    tx.replace({**endpoint, "url": url})
    seen = "SELECT 1 FROM webhook_secrets WHERE endpoint = ? AND secret = ?"
    if tx.db.execute(seen, (COMMAND_LINE, secret)).fetchone() is None:
        tx.db.execute("DELETE FROM webhook_secrets WHERE endpoint = ?", (COMMAND_LINE,))
        _keep_secret(tx, COMMAND_LINE, secret)


def roll(tx: Tx, wish: JsonObject) -> JsonObject:
    """A new secret; the old ones go on signing beside it for `expires_in` seconds."""
    endpoint_id, overlap = str(wish.get("id", COMMAND_LINE)), wish.get("expires_in", 0)
    if tx.find("webhook_endpoint", endpoint_id) is None:
        raise missing_object("webhook_endpoint", endpoint_id, "id", status=404)
    if not isinstance(overlap, int) or not 0 <= overlap <= DAY:
        raise invalid(f"'expires_in' is 0 to {DAY} seconds.", param="expires_in")
    tx.db.execute(
        "UPDATE webhook_secrets SET expires = min(ifnull(expires, ?1), ?1) WHERE endpoint = ?2",
        (tx.now + overlap, endpoint_id),
    )
    return {"id": endpoint_id, "secret": _new_secret(tx, endpoint_id)}


def resend(tx: Tx, wish: JsonObject) -> JsonObject:
    """An event once more, to every endpoint that wants it."""
    event = tx.find("event", wish["id"])
    if event is None:
        raise missing_object("event", wish["id"], "id", status=404)
    send_again(tx, event)
    return {"id": event["id"], "resent": True}


def _new_secret(tx: Tx, endpoint_id: str) -> str:
    secret = f"whsec_{secrets.token_hex(16)}"
    _keep_secret(tx, endpoint_id, secret)
    return secret


def _keep_secret(tx: Tx, endpoint_id: str, secret: str) -> None:
    tx.db.execute(
        "INSERT INTO webhook_secrets (endpoint, secret) VALUES (?, ?)", (endpoint_id, secret)
    )


KIND = Kind(
    "webhook_endpoint",
    "webhook_endpoints",
    param="webhook_endpoint",
    create=create,
    update=update,
    delete=delete,
)
