"""What grows is found, and what is flat, noisy, or rises once is not taken for it."""

import random
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest

from bench.plot import trend_plot
from bench.slopes import MAX_POINTS, MIN_SAMPLES, Judgement, Tolerance, judge

HOURS, EACH_HOUR = 1.0, 120
TOLERANCE = Tolerance(0.05, 3.0)
"""Of 100: growth of more than 5."""

Series = Callable[[float], float]


def judged(value: Series, noise: float = 1.0, hours: float = HOURS, seed: int = 1) -> Judgement:
    """Judge a series of samples that are as noisy as that, without the first quarter."""
    chance = random.Random(seed)
    times = [(number + 1) / EACH_HOUR for number in range(round(hours * EACH_HOUR))]
    return judge([(at, value(at) + chance.gauss(0, noise)) for at in times], TOLERANCE, hours / 4)


def flat(_: float) -> float:
    return 100.0


def growing(at: float) -> float:
    return 100 + 12 * at


def spikes(at: float) -> float:
    """Flat, but every fourth sample is taken in a bad moment, and more so later on."""
    return 100 + (500 * at if round(at * EACH_HOUR) % 4 == 0 else 0)


def step(at: float) -> float:
    """A cache that fills at once."""
    return 100.0 if at < 0.6 else 130.0


def warming(at: float) -> float:
    """Much at first, less and less, and nothing to speak of behind the first quarter."""
    return 100 - 50 * 2.0 ** (-at * 24)


def staircase(at: float) -> float:
    """A leak behind an allocator that takes memory in large pieces."""
    return 100 + 10 * int(at * 5)


def late(at: float) -> float:
    """A leak of something that begins half an hour in."""
    return 100 + max(0.0, at - 0.5) * 60


def shrinking(at: float) -> float:
    return 200 - 50 * at


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("series", [flat, spikes, step, warming, shrinking])
def test_what_does_not_grow_is_flat(series: Series, seed: int) -> None:
    assert judged(series, seed=seed).verdict == "flat"


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("series", [growing, staircase, late])
def test_what_grows_is_found(series: Series, seed: int) -> None:
    assert judged(series, seed=seed).verdict == "GROWS"


@pytest.mark.parametrize("seed", range(20))
def test_noise_of_a_fifth_of_the_level_is_no_growth(seed: int) -> None:
    assert judged(flat, noise=20, seed=seed).verdict == "flat"


def test_the_slope_is_that_of_the_samples_in_spite_of_spikes() -> None:
    found = judged(lambda at: growing(at) + spikes(at) - 100, noise=0.1)
    assert found.slope == pytest.approx(12, abs=2)


def test_the_same_leak_is_seen_the_better_the_longer_it_lasts() -> None:
    def slow(at: float) -> float:
        return 100 + 2 * at

    assert judged(slow).verdict == "flat"
    assert judged(slow, hours=6).verdict == "GROWS"


def test_many_samples_are_put_together_first() -> None:
    found = judged(growing, hours=24)
    assert found.verdict == "GROWS"
    assert 24 * EACH_HOUR > MAX_POINTS
    assert found.slope == pytest.approx(12, abs=0.1)


def test_a_growth_below_the_tolerance_is_shown_and_not_judged() -> None:
    found = judged(lambda at: 100 + 4 * at, noise=0.1)
    assert found.verdict == "flat"
    assert found.lowest is not None
    assert found.lowest > 0
    assert found.growth == pytest.approx(3, abs=0.3)


def test_too_few_samples_are_not_judged() -> None:
    samples = [(at, at) for at in range(MIN_SAMPLES - 1)]
    assert judge(samples, TOLERANCE, 0).verdict == "too short to tell"
    assert judge([], TOLERANCE, 0).verdict == "too short to tell"


def test_figures_that_do_not_change_at_all_have_no_slope() -> None:
    found = judge([(float(at), 7.0) for at in range(50)], Tolerance(0, 0), 0)
    assert (found.slope, found.growth, found.grows) == (0, 0, False)


def test_trends_are_well_formed_xml_with_two_lines_for_each_figure() -> None:
    panels = {"a & b": ([(0.1, 1.0), (0.2, 2.0)], [(0.1, 1.0), (0.2, 2.0)]), "nothing": ([], [])}
    root = ET.fromstring(trend_plot("t < u", "<c>", panels))
    assert len(list(root.iter("{http://www.w3.org/2000/svg}polyline"))) == 4
