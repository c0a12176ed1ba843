from __future__ import annotations

from typing import Any

import pytest

from worker.sandbox.form import decode


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("", {}),
        ("a=1&b=", {"a": "1", "b": ""}),
        ("a[b][c]=1&a[b][d]=2", {"a": {"b": {"c": "1", "d": "2"}}}),
        ("a[0]=x&a[1]=y", {"a": ["x", "y"]}),
        ("a[]=x&a[]=y", {"a": ["x", "y"]}),
        ("a[10]=k&a[9]=j", {"a": ["j", "k"]}),
        ("items[0][price]=p&items[0][quantity]=2", {"items": [{"price": "p", "quantity": "2"}]}),
        ("created%5Bgte%5D=5&name=a+b%26c", {"created": {"gte": "5"}, "name": "a b&c"}),
        ("a=1&a[b]=2", {"a": {"b": "2"}}),
        ("=1&[]=2", {"0": "2"}),
    ],
)
def test_nested_names_become_objects_and_lists(text: str, params: dict[str, Any]) -> None:
    assert decode(text) == params
