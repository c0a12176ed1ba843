from __future__ import annotations

import pytest

from tests.sandbox.conformance.conftest import KEY, stripe_test_key


@pytest.mark.parametrize("key", ["sk_live_1", "rk_live_1", "pk_test_1"])
def test_a_key_that_is_not_for_test_mode_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="does not hold a test key"):
        stripe_test_key({KEY: key})
