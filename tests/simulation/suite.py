"""The suite's seeds. They are in several files of tests, since one file's tests run one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from coverage import Coverage

from tests.history import report
from tests.simulation.disk import NEEDED, is_possible
from tests.simulation.plan import draw
from tests.simulation.run import attempt, shrink

SEEDS = 500
"""What CI runs; more are run by hand."""

FILES = 4
"""Files that have them."""

SEEDS_OF_A_TEST = 25

where_possible = pytest.mark.skipif(not is_possible(), reason=NEEDED)


@contextmanager
def untraced() -> Iterator[None]:
    """Without noting which lines are run, which takes longer than the runs themselves. It is done in `test_simulation`,
    and hundreds of seeds more run the same lines."""
    coverage = Coverage.current()
    if coverage is None:
        yield
        return
    coverage.stop()
    try:
        yield
    finally:
        coverage.start()


HOURS, SECONDS = "simulated hours", "seconds of simulating"
"""Properties of a test, which the end of the run adds up."""


def seeds_of(file: int) -> Callable[..., None]:
    """The test of one of the files, over its part of the seeds."""
    firsts = range(file * SEEDS // FILES, (file + 1) * SEEDS // FILES, SEEDS_OF_A_TEST)

    @where_possible
    @pytest.mark.parametrize("first", firsts)
    @untraced()
    def test(first: int, record_property: Callable[[str, object], None]) -> None:
        began, simulated = time.perf_counter(), 0.0
        for seed in range(first, first + SEEDS_OF_A_TEST):
            outcome = attempt(draw(seed))
            simulated += outcome.seconds
            if outcome.findings:
                shrunk = shrink(outcome)
                pytest.fail(f"{shrunk.outcome.plan}\n{report(shrunk.outcome.findings)}\nagain: {shrunk.command}")
        record_property(HOURS, simulated / 3600)
        record_property(SECONDS, time.perf_counter() - began)

    return test


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many hours were simulated, and how many in a second of each process."""
    totals = {HOURS: 0.0, SECONDS: 0.0}
    for passed in terminalreporter.stats.get("passed", ()):
        for name, value in passed.user_properties:
            if name in totals:
                totals[name] += value
    hours, seconds = totals.values()
    if seconds:
        terminalreporter.write_line(
            f"{hours:.2f} simulated hours in {seconds:.0f} s of all processes, {hours / seconds:.4f} a second"
        )
