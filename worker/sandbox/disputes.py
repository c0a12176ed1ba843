"""Disputes: a cardholder asks the bank for the money of a charge, or first asks what it was for.

needs_response ─ evidence ─▶ under_review ─▶ won or lost    the money is gone until it is won
warning_needs_response ─ evidence ─▶ warning_under_review ─▶ warning_closed    an inquiry: no
money moves, unless it escalates to needs_response
"""

from __future__ import annotations

from worker.sandbox import balance_transactions, bank, later
from worker.sandbox.errors import JsonObject, invalid, not_in_sandbox
from worker.sandbox.events import happened
from worker.sandbox.filters import field
from worker.sandbox.kind import Kind
from worker.sandbox.params import assign, boolean, nested, refuse, text
from worker.sandbox.store import Tx, new_id

# Why a cardholder complains, and Visa's code for it.
REASONS = {
    "credit_not_processed": "13.6",
    "duplicate": "12.6",
    "fraudulent": "10.4",
    "general": None,
    "product_not_received": "13.1",
    "product_unacceptable": "13.3",
    "subscription_canceled": "13.2",
    "unrecognized": "10.4",
}
INQUIRY_CODE = "10"
EVIDENCE = (
    "access_activity_log",
    "billing_address",
    "cancellation_policy",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_communication",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "customer_signature",
    "duplicate_charge_documentation",
    "duplicate_charge_explanation",
    "duplicate_charge_id",
    "product_description",
    "receipt",
    "refund_policy",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "service_documentation",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_documentation",
    "shipping_tracking_number",
    "uncategorized_file",
    "uncategorized_text",
)
# The bank decides on these words in `uncategorized_text`; other evidence stays under review.
VERDICTS = ("winning_evidence", "losing_evidence", "escalate_inquiry_evidence")


def begin(
    tx: Tx, charge: JsonObject, reason: str, amount: int, *, inquiry: bool = False
) -> JsonObject:
    """The cardholder questions a charge."""
    dispute = _blank(tx, charge, reason, amount)
    tx.add(dispute)
    charge["disputed"] = True
    tx.replace(charge)
    if not inquiry:
        _withdraw(tx, dispute)
    _keep(tx, dispute)
    happened(tx, "charge.dispute.created", dispute)
    if not inquiry:
        happened(tx, "charge.dispute.funds_withdrawn", dispute)
    later.at(tx, dispute["evidence_details"]["due_by"], "dispute_lapses", dispute["id"])
    return dispute


def _blank(tx: Tx, charge: JsonObject, reason: str, amount: int) -> JsonObject:
    brand = charge["payment_method_details"]["card"]["brand"]
    return {
        "id": new_id("du"),
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": charge["id"],
        "created": tx.now,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {**dict.fromkeys(EVIDENCE), "enhanced_evidence": {}},
        "evidence_details": {
            "due_by": tx.now + bank.DELAYS["dispute_deadline"],
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": True,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "payment_method_details": {
            "card": {
                "brand": brand,
                "case_type": "inquiry",
                "network": brand,
                "network_reason_code": INQUIRY_CODE,
            },
            "type": "card",
        },
        "reason": reason,
        "status": "warning_needs_response",
    }


def _withdraw(tx: Tx, dispute: JsonObject) -> None:
    withdrawal = balance_transactions.dispute_withdrawn(tx, dispute)
    dispute["balance_transactions"].append(withdrawal)
    dispute["is_charge_refundable"] = False
    dispute["status"] = "needs_response"
    dispute["payment_method_details"]["card"] |= {
        "case_type": "chargeback",
        "network_reason_code": REASONS[dispute["reason"]],
    }


def _keep(tx: Tx, dispute: JsonObject) -> None:
    tx.replace(dispute)
    bank.dispute(tx, dispute)


def update(tx: Tx, dispute: JsonObject, params: JsonObject) -> JsonObject:
    """Put evidence together, and submit it unless told not to yet."""
    refuse(params, ("intended_submission_method",))
    _require_open(dispute)
    for name in nested(params, "evidence"):
        if name not in EVIDENCE:
            raise not_in_sandbox(f"evidence[{name}]")
        dispute["evidence"][name] = text(params["evidence"], name, param=f"evidence[{name}]")
    assign(dispute, params, ())
    dispute["evidence_details"]["has_evidence"] = any(dispute["evidence"].values())
    if "evidence" in params or "submit" in params:
        _submit(tx, dispute, params)
    _changed(tx, dispute)
    return dispute


def _submit(tx: Tx, dispute: JsonObject, params: JsonObject) -> None:
    submitting = boolean({"submit": "true", **params}, "submit")
    if not submitting or not dispute["evidence_details"]["has_evidence"]:
        return
    dispute["evidence_details"]["submission_count"] += 1
    dispute["status"] = dispute["status"].replace("needs_response", "under_review")
    if dispute["evidence"]["uncategorized_text"] in VERDICTS:
        later.at(tx, tx.now + bank.DELAYS["dispute_verdict"], "dispute_verdict", dispute["id"])


def decide(tx: Tx, id: str) -> None:
    """The bank has read the evidence."""
    dispute = tx.get("dispute", id)
    if not dispute["status"].endswith("under_review"):
        return
    verdict = dispute["evidence"]["uncategorized_text"]
    if verdict == "escalate_inquiry_evidence" and _is_inquiry(dispute):
        _withdraw(tx, dispute)
        _changed(tx, dispute)
        happened(tx, "charge.dispute.funds_withdrawn", dispute)
    elif verdict in ("winning_evidence", "losing_evidence"):
        _end(tx, dispute, won=verdict == "winning_evidence")


def lapse(tx: Tx, id: str) -> None:
    """Nobody answered in time."""
    dispute = tx.get("dispute", id)
    if dispute["status"].endswith("needs_response"):
        dispute["evidence_details"]["past_due"] = True
        _end(tx, dispute, won=False)


def close(tx: Tx, dispute: JsonObject, _params: JsonObject) -> JsonObject:
    """Give the dispute up."""
    _require_open(dispute)
    _end(tx, dispute, won=False)
    return dispute


def _require_open(dispute: JsonObject) -> None:
    if dispute["status"] in ("won", "lost", "warning_closed"):
        raise invalid("This dispute is already closed")


def _is_inquiry(dispute: JsonObject) -> bool:
    return bool(dispute["status"].startswith("warning_"))


def _end(tx: Tx, dispute: JsonObject, *, won: bool) -> None:
    """An inquiry just closes; a dispute that is won brings the money back."""
    inquiry = _is_inquiry(dispute)
    dispute["status"] = "warning_closed" if inquiry else "won" if won else "lost"
    if won and not inquiry:
        reinstated = balance_transactions.dispute_reinstated(tx, dispute)
        dispute["balance_transactions"].append(reinstated)
        dispute["is_charge_refundable"] = True
        happened(tx, "charge.dispute.funds_reinstated", dispute)
    _keep(tx, dispute)
    happened(tx, "charge.dispute.closed", dispute)


def _changed(tx: Tx, dispute: JsonObject) -> None:
    _keep(tx, dispute)
    happened(tx, "charge.dispute.updated", dispute)


KIND = Kind(
    "dispute",
    "disputes",
    param="dispute",
    update=update,
    actions={"close": close},
    filters={"charge": field(), "payment_intent": field()},
)
