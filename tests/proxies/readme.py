"""What README's guide says, as the tests of it use it."""

from __future__ import annotations

import re
from pathlib import Path

README = (Path(__file__).parent.parent.parent / "README.md").read_text()
GUIDE = README.partition("\n## Outgrow one machine\n")[2].partition("\n## ")[0]


def blocks(language: str) -> list[str]:
    """The guide's blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
