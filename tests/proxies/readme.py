"""What README's guide says, as the tests of it use it."""

from __future__ import annotations

import re
import socket
from pathlib import Path

README = (Path(__file__).parent.parent.parent / "README.md").read_text()
GUIDE = README.partition("\n## Outgrow one machine\n")[2].partition("\n## ")[0]


def blocks(language: str) -> list[str]:
    """The guide's blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def free_port() -> int:
    """A port that nobody has at the moment. nginx and haproxy do not tell which one they were given."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
