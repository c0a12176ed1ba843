"""`docs/sandbox.md` says what is so."""

from __future__ import annotations

import re
from pathlib import Path

from worker.sandbox.cards import CARDS, DECLINES, Authenticates, Card, Refunding
from worker.sandbox.contents import KINDS
from worker.sandbox.controls import CONTROLS
from worker.sandbox.faults import FAULTS

PAGE = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()
AUTHENTICATES = {
    Authenticates.ON_SESSION: "3D Secure on session",
    Authenticates.UNLESS_SET_UP: "3D Secure on session, and off session until it was set up",
    Authenticates.ALWAYS: "3D Secure always",
}
REFUNDING = {
    Refunding.PENDING: "refunds are pending first",
    Refunding.FAILS: "refunds succeed, then fail",
}


def rows(heading: str) -> list[list[str]]:
    """The cells of the tables under a heading, without the titles of their columns."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def row_of(card: Card) -> list[str]:
    """How the table of test cards shows a card."""
    besides = [AUTHENTICATES.get(card.authenticates), REFUNDING.get(card.refunding)]
    if card.disputes:
        besides.append(f"{'an inquiry' if card.inquires else 'disputed'}: `{card.disputes}`")
    names = ", ".join(f"`{name}`" for name in card.names)
    saved = "yes" if card.attaches else "no"
    return [names, card.number or "", saved, pays(card), "; ".join(filter(None, besides))]


def pays(card: Card) -> str:
    later = " after processing" if card.processes else ""
    if card.decline is None:
        return f"yes{later}"
    decline = DECLINES[card.decline]
    advice = f", `{decline.advice_code}`" if decline.advice_code else ""
    return f"no{later}: `{decline.decline_code}`{advice}"


def test_every_test_card_is_listed_with_what_it_does() -> None:
    assert rows("Test cards") == [row_of(card) for card in CARDS]


def test_every_fault_is_listed_with_when_it_strikes() -> None:
    assert {name.strip("`"): when for name, when, _ in rows("Faults")} == FAULTS


def test_every_control_is_listed() -> None:
    listed = {tuple(control.strip("`").split()) for control, _ in rows("Controls")}

    assert listed == {(method, f"/_sandbox/{name}") for method, name in CONTROLS}


def test_every_kind_is_listed_with_what_changes_it() -> None:
    listed = {
        path.strip("`"): set(re.findall(r"\w+", verbs)) for path, verbs, _ in rows("What it covers")
    }

    assert listed == {
        path: {
            *(["create"] if kind.create else []),
            *(["update"] if kind.update else []),
            *([kind.delete_verb] if kind.delete else []),
            *kind.actions,
        }
        for path, kind in KINDS.items()
    }
