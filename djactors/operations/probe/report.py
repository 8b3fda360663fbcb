"""What was found, as lines for people, as metrics for monitors, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from djactors.operations.probe.catalogue import FINDINGS

MAX_CAME = 200
"""Characters that are shown of what came: an error page of a proxy is longer, and its beginning says enough."""


class WrongError(Exception):
    """A check has found something.

    Args:
        finding: its name in the catalogue.
        came: what came.
        expected: what was expected.
    """

    def __init__(self, finding: str, came: str, expected: str) -> None:
        super().__init__(finding, came, expected)
        # Whoever answers could otherwise write to the terminal as it likes.
        shown = "".join(letter if letter.isprintable() else " " for letter in came)
        self.finding, self.came, self.expected = finding, " ".join(shown.split())[:MAX_CAME], expected


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """The outcome of one check. `finding` is empty if all is well."""

    check: str
    told: str = ""
    finding: str = ""
    came: str = ""
    expected: str = ""
    mend: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.finding

    def line(self) -> str:
        """The one line for people."""
        if self.ok:
            return f"ok   {self.check}{': ' if self.told else ''}{self.told}"
        return (
            f"FAIL {self.check}: {FINDINGS[self.finding].wrong} ({self.finding}): came {self.came}; expected "
            f"{self.expected}; mend: {self.mend}"
        )


def well(check: str, told: str = "") -> Result:
    """Nothing was found."""
    return Result(check, told)


def found(check: str, error: WrongError) -> Result:
    """Something was found."""
    return Result(check, "", error.finding, error.came, error.expected, FINDINGS[error.finding].mend)


class Report(msgspec.Struct):
    """All results, and what was measured: seconds by step and transport."""

    url: str
    results: list[Result] = []
    seconds: dict[str, dict[str, float]] = {}

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return all(result.ok for result in self.results)

    def measure(self, step: str, transport: str, seconds: float) -> str:
        """Keep a measurement; return it as text."""
        self.seconds.setdefault(step, {})[transport] = seconds
        return f"{seconds * 1000:.0f} ms"

    def metrics(self) -> Iterator[str]:
        """The samples, one a line, in Prometheus' text format."""
        yield f"djactors_probe_success {int(self.ok)}"
        for result in self.results:
            yield f'djactors_probe_check_success{{check="{result.check}"}} {int(result.ok)}'
        for result in self.results:
            if not result.ok:
                yield f'djactors_probe_finding{{check="{result.check}",finding="{result.finding}"}} 1'
        for step, transports in self.seconds.items():
            for transport, seconds in transports.items():
                yield f'djactors_probe_seconds{{step="{step}",transport="{transport}"}} {seconds:.6f}'
