"""A command runs where nobody else's files and settings are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("DJACTORS_", "JWT_", "SOCKET_")):
            monkeypatch.delenv(name)
    return tmp_path
