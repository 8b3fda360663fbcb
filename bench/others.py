"""What others feel: users who are posted to at a steady pace while a benchmark works with its own.

They have a load process of their own, so that what the benchmark's load is busy with does not show in their latencies.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from bench.distribution import Distribution
from bench.driver import Driver, load_on
from bench.load.commands import Connect, Connected, Done, During, Felt, Know, Pace, Phase, Target
from bench.report import Report

TENANT = 2
SHOWN = (50.0, 99.0, 99.9)
HEAD = (
    "what others feel, in ms",
    "events",
    "answered p50",
    "p99",
    "p99.9",
    "delivered p50",
    "p99",
    "p99.9",
)


class Others:
    """The others of one server, once they are connected."""

    def __init__(self, driver: Driver, rate: float) -> None:
        self._driver = driver
        self._rate = rate

    def feel(self, seconds: float) -> Phase:
        """How they are served while nothing else is done."""
        self.begin(seconds)
        return self.end(seconds)

    def begin(self, seconds: float) -> None:
        """Post to them from now on, for so long."""
        self._driver.tell(
            Pace(event="notification.requested", rate=self._rate, seconds=seconds, warmup_seconds=0.0, producers=4)
        )

    def end(self, seconds: float) -> Phase:
        """How they were served, once all of that was."""
        return self._driver.answer(Phase, seconds)

    def during(self, since: float, until: float) -> Felt:
        """How those posts were served that were due in this part of it."""
        return self._driver.ask(During(since, until), Felt)

    def beside(self, load: Driver, pace: Pace) -> tuple[Phase, Phase]:
        """How another load and they are served while both keep a pace."""
        self.begin(pace.seconds)
        return load.ask(pace, Phase), self.end(pace.seconds)


@contextmanager
def others_on(target: Target, users: int, rate: float, *, first: int = 1, tenant: int = TENANT) -> Iterator[Others]:
    """So many users, to whom so many events a second are posted: from the number `first`, and of another tenant."""
    with load_on(msgspec.structs.replace(target, tenant=tenant)) as driver:
        driver.ask(Know(first + users - 1), Done)
        driver.ask(Connect(first, users, users), Connected)
        yield Others(driver, rate)


def row(label: str, acknowledged: Distribution, delivered: Distribution) -> list[object]:
    """A row of the table whose head is `HEAD`."""
    figures = [each.milliseconds(percentile) for each in (acknowledged, delivered) for percentile in SHOWN]
    return [label, delivered.count, *figures]


def tell(report: Report, phases: Mapping[str, Phase]) -> dict[str, Any]:
    """Show how the others were served in each phase; the figures, for the JSON."""
    rows, figures = [], {}
    for label, phase in phases.items():
        acknowledged, delivered = Distribution(phase.acknowledged), Distribution(phase.delivered)
        rows.append(row(label, acknowledged, delivered))
        figures[label] = report.phase(f"others, {label}", phase) | {
            "acknowledged": acknowledged.summary(),
            "delivered": delivered.summary(),
        }
    report.table(HEAD, rows)
    return figures
