"""What the checker found: a list of readable sentences, each under the rule that it breaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

Rule = Literal[
    "stored once",
    "log",
    "marks",
    "pasts",
    "applied once",
    "received once",
    "offsets",
    "counts",
    "isolation",
    "commands",
]

SHOWN = 40
"""Findings that a report shows: one fault makes hundreds."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong. `who` is a device, a user or a publisher's key."""

    rule: Rule
    who: str
    text: str

    def __str__(self) -> str:
        return f"[{self.rule}] {self.who}: {self.text}"


def report(findings: Sequence[Finding]) -> str:
    """The findings, a line each, the first `SHOWN` of them."""
    lines = [f"{len(findings)} findings", *(f"  {finding}" for finding in findings[:SHOWN])]
    if len(findings) > SHOWN:
        lines.append(f"  … and {len(findings) - SHOWN} more")
    return "\n".join(lines)
