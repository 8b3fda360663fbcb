"""Whether a figure that was sampled for hours grows: a robust fit, and a judgement that noise and one step do not sway.

The slope is Theil and Sen's: the median of the slopes between all pairs of samples, so that a third of the samples may
be wrong without an effect. A figure grows if all three hold:

- Its slope is above zero with 95 % confidence (Sen's interval, by Kendall's variance).
- Over the time that was judged, the slope comes to more than the tolerance.
- The growth is not a single step. The samples are cut into `BLOCKS` parts, and without the greatest rise from one part
  to the next, the others still come to more than the tolerance. A cache that fills once is such a step; a leak is not.

What is sampled while the server warms up is not judged.
"""

import math
import statistics
from collections.abc import Sequence
from itertools import combinations, pairwise

import msgspec

MIN_SAMPLES = 20
"""With fewer, nothing is judged."""

MAX_POINTS = 240
"""More samples are first put together, by medians: the pairs grow with the square."""

BLOCKS = 8
"""Parts in which a single step is looked for."""

CONFIDENCE = 1.96
"""Standard deviations of a normal distribution on each side of 95 %."""

Point = tuple[float, float]
"""Hours, and the value."""


class Tolerance(msgspec.Struct, frozen=True):
    """How much a figure may grow over the whole time that is judged: the larger one of a part of its level, and an
    amount."""

    part: float
    amount: float

    def of(self, level: float) -> float:
        """In the figure's unit."""
        return max(self.part * abs(level), self.amount)


class Judgement(msgspec.Struct, frozen=True):
    """What became of one figure.

    Attributes:
        level: the median of what was judged; None if there were too few samples.
        slope: by which it grew each hour.
        lowest: the lower end of the slope's interval.
        growth: what the slope comes to over the time that was judged.
        tolerance: what it may come to.
        grows: the verdict.
        line: the fit at the first and at the last moment that was judged, for a plot.
    """

    level: float | None
    slope: float | None = None
    lowest: float | None = None
    growth: float | None = None
    tolerance: float | None = None
    grows: bool = False
    line: tuple[Point, Point] | None = None

    @property
    def verdict(self) -> str:
        """In words."""
        return "too short to tell" if self.level is None else "GROWS" if self.grows else "flat"


def judge(points: Sequence[Point], tolerance: Tolerance, warm_up: float) -> Judgement:
    """Judge what was sampled after so many hours."""
    points = [point for point in points if point[0] >= warm_up]
    if len(points) < MIN_SAMPLES:
        return Judgement(None)
    points = _fewer(points)
    level = statistics.median(value for _, value in points)
    slopes = sorted((y - x) / (to - since) for (since, x), (to, y) in combinations(points, 2) if to > since)
    slope, lowest = statistics.median(slopes), _lower_end(slopes, len(points))
    hours = points[-1][0] - points[0][0]
    allowed = tolerance.of(level)
    middle = statistics.median(value - slope * at for at, value in points)
    return Judgement(
        level=level,
        slope=slope,
        lowest=lowest,
        growth=slope * hours,
        tolerance=allowed,
        grows=lowest > 0 and slope * hours > allowed and _without_greatest_step(points) > allowed,
        line=((points[0][0], middle + slope * points[0][0]), (points[-1][0], middle + slope * points[-1][0])),
    )


def _fewer(points: Sequence[Point]) -> list[Point]:
    """At most so many points, each the median of as many neighbours."""
    size = math.ceil(len(points) / MAX_POINTS)
    return [_middle(points[start : start + size]) for start in range(0, len(points), size)]


def _middle(points: Sequence[Point]) -> Point:
    return statistics.median(at for at, _ in points), statistics.median(value for _, value in points)


def _lower_end(slopes: Sequence[float], count: int) -> float:
    """The lower end of the slope's 95 % interval (Sen 1968): so many places below the median of all slopes."""
    spread = CONFIDENCE * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    return slopes[max(int((len(slopes) - spread) / 2), 0)]


def _without_greatest_step(points: Sequence[Point]) -> float:
    """What the rises from part to part come to without the greatest, for as many rises as there are."""
    size = len(points) / BLOCKS
    levels = [
        # A value that was there, so that a step in the middle of a part is not made two of half the height.
        statistics.median_low(value for _, value in points[round(part * size) : round((part + 1) * size)])
        for part in range(BLOCKS)
    ]
    rises = [after - before for before, after in pairwise(levels)]
    # The parts' middles are nearer to each other than the first sample and the last.
    return (sum(rises) - max(rises)) / (len(rises) - 1) * BLOCKS
