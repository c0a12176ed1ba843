"""What a kind of object is to the generic handler."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from worker.sandbox.errors import Answer, JsonObject
from worker.sandbox.filters import Filter
from worker.sandbox.store import Condition, Tx

# A change may end in an answer that is kept together with its effects: a declined card.
Create = Callable[[Tx, JsonObject], JsonObject | Answer]
Change = Callable[[Tx, JsonObject, JsonObject], JsonObject | Answer]
Include = Callable[[Tx, JsonObject], JsonObject | None]
Find = Callable[[Tx, str], JsonObject | None]


@dataclass(frozen=True)
class Kind:
    """A kind of object: its name, its place in URLs, and its state machine where it has one."""

    name: str
    path: str
    # What Stripe calls it, as a parameter, when there is none with that id.
    param: str
    # How Stripe writes the kind in a sentence, where it is not the name.
    title: str = ""
    create: Create | None = None
    update: Change | None = None
    delete: Change | None = None
    # The SDK's verb for DELETE; a subscription is canceled by it.
    delete_verb: str = "delete"
    actions: Mapping[str, Change] = field(default_factory=dict)
    # How an action finds its object; some ids stand for an object yet to be made.
    find: Find | None = None
    # What a list may be narrowed by besides its time, and what narrows it unasked.
    filters: Mapping[str, Filter] = field(default_factory=dict)
    unasked: Callable[[JsonObject], Sequence[Condition]] = lambda _params: ()
    # Fields that Stripe shows only where `expand` asks for them.
    includable: Mapping[str, Include] = field(default_factory=dict)
    # Lists under one object, such as a customer's payment methods, by the other kind's path.
    children: tuple[str, ...] = ()
