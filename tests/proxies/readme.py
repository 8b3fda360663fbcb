"""What README's guides to proxies say, as the tests of them use it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

README = (Path(__file__).parent.parent.parent / "README.md").read_text()
TWO_NODES = README.partition("\n## Outgrow one machine\n")[2].partition("\n## ")[0]
ONE_SERVER = README.partition("\n### Behind a proxy\n")[2].partition("\n### ")[0]


def blocks(language: str, guide: str = TWO_NODES) -> list[str]:
    """The guide's blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)


def fitted(text: str, changes: Mapping[str, str]) -> str:
    """README's text with the names, files and addresses of a test. Raises AssertionError if it has one of them not."""
    for old, new in changes.items():
        assert old in text, f"README's text has no {old!r}"
        text = text.replace(old, new)
    return text
