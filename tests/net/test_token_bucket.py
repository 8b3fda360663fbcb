"""The token bucket: never more than the burst and the rate, and a wait that was told is enough."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djactors.net import TokenBucket


def test_a_burst_passes_and_then_the_rate():
    bucket = TokenBucket(10, 3, now=100.0)
    assert [bucket.take(100.0) for _ in range(4)] == [0, 0, 0, pytest.approx(0.1)]
    assert bucket.take(100.05) == pytest.approx(0.05)
    assert bucket.take(100.1) == 0
    assert [bucket.take(1000.0) for _ in range(4)] == [0, 0, 0, pytest.approx(0.1)]


def test_what_is_larger_than_the_bucket_passes_when_it_is_full_and_is_paid_for_later():
    bucket = TokenBucket(10, 20, now=0)
    assert bucket.take(0, 50) == 0
    assert bucket.take(1, 1) == pytest.approx(2.1)
    assert bucket.take(5, 50) == 0


@given(
    rate=st.integers(1, 100),
    burst=st.integers(1, 50),
    gaps=st.lists(st.sampled_from([0, 0, 0, 0.001, 0.01, 0.1, 1, 10]), max_size=100),
)
def test_never_more_than_the_burst_and_the_rate_pass_and_a_wait_that_was_told_is_enough(
    rate: int, burst: int, gaps: Sequence[float]
):
    now, granted = 0.0, 0
    bucket = TokenBucket(rate, burst, now)
    for gap in gaps:
        now += gap
        wait = bucket.take(now)
        granted += wait == 0
        if wait:
            now += wait + 1e-9
            assert bucket.take(now) == 0
            granted += 1
    assert granted <= burst + rate * now + 1e-6
