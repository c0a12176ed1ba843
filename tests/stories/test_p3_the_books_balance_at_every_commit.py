"""P3: whenever one looks, the books balance; and nobody rewrites them."""

from __future__ import annotations

import pytest
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from producers.publish import publish
from tests.running import RunningStack, eventually
from tests.stories.customers import deployed_now, fixes_in, new_customer
from worker.storage.engine import connect


def test_whoever_looks_while_fixes_settle_finds_the_books_in_balance(stack: RunningStack) -> None:
    customers = [new_customer(stack, plan, "pm_card_visa") for plan in ("trial", "payg", "pro")]
    publish([each for one in customers for each in deployed_now(one, 400)], redis=stack.redis)

    looks = [stack.broken()]
    while sum(len(fixes_in(stack, one)) for one in customers) < 1200 and len(looks) < 200:
        looks.append(stack.broken())

    assert [broken for broken in looks if broken] == []
    assert eventually(lambda: stack.broken() == [])


@pytest.mark.parametrize("login", ["DATABASE_URL", "OWNER_DATABASE_URL"])
@pytest.mark.parametrize(
    "statement", ["UPDATE transfers SET amount = 1", "DELETE FROM transfers", "TRUNCATE transfers"]
)
def test_neither_the_worker_nor_the_owner_rewrites_history(
    stack: RunningStack, login: str, statement: str
) -> None:
    engine = connect(stack.env[login], role=None)

    with pytest.raises(ProgrammingError) as refused, engine.begin() as tx:
        tx.execute(text(statement))
    engine.dispose()

    assert isinstance(refused.value.orig, InsufficientPrivilege)
