from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(text: str | bytes) -> Path:
        file = tmp_path / "plans.toml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    return write
