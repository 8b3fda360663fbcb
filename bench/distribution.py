"""Latencies as an HDR histogram: every percentile to three digits, from a microsecond to a minute."""

from collections.abc import Iterable, Iterator
from typing import TypedDict

from hdrh.histogram import HdrHistogram

LOWEST_MICROSECONDS = 1
HIGHEST_MICROSECONDS = 60_000_000
DIGITS = 3
SHOWN = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}


class Summary(TypedDict):
    """A distribution in a result file. Milliseconds; `histogram` is HdrHistogram's own portable encoding."""

    count: int
    milliseconds: dict[str, float]
    histogram: str


class Distribution:
    """How long something took, many times."""

    def __init__(self, seconds: Iterable[float]) -> None:
        self._histogram = HdrHistogram(LOWEST_MICROSECONDS, HIGHEST_MICROSECONDS, DIGITS)
        for value in seconds:
            microseconds = round(value * 1e6)
            self._histogram.record_value(min(max(microseconds, LOWEST_MICROSECONDS), HIGHEST_MICROSECONDS))

    @property
    def count(self) -> int:
        """How many were recorded."""
        return int(self._histogram.get_total_count())

    def milliseconds(self, percentile: float) -> float:
        """The value that this share of all stayed at or below."""
        return float(self._histogram.get_value_at_percentile(percentile)) / 1000

    def shown(self) -> dict[str, float]:
        """The percentiles that a table shows, in milliseconds."""
        return {name: self.milliseconds(percentile) for name, percentile in SHOWN.items()}

    def curve(self) -> Iterator[tuple[float, float]]:
        """(percentile, milliseconds) at the steps at which a plot turns, up to the last that the count supports."""
        distance = 0.5
        while distance * self.count >= 1:
            percentile = 100 * (1 - distance)
            yield percentile, self.milliseconds(percentile)
            distance /= 1.25

    def summary(self) -> Summary:
        """For a result file."""
        return Summary(count=self.count, milliseconds=self.shown(), histogram=self._histogram.encode().decode("ascii"))


def table(rows: dict[str, Distribution]) -> str:
    """The rows as text, one distribution a line, in milliseconds."""
    width = max(map(len, rows))
    lines = [f"{'ms':<{width}}  {'count':>7}" + "".join(f"{name:>10}" for name in SHOWN)]
    lines += [
        f"{label:<{width}}  {row.count:>7}" + "".join(f"{value:>10.2f}" for value in row.shown().values())
        for label, row in rows.items()
    ]
    return "\n".join(lines)
