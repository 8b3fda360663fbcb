"""Fair shares: never more than the burst and the rate, a wait that was told is enough, and each sender has its own."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djactors.net import AddressCounts, ProvenAddresses, TokenBucket, TokenBuckets, host_of
from djactors.net._shares import MAX_PROVEN, PROVEN_SECONDS


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


def test_each_key_has_a_bucket_of_its_own():
    buckets: TokenBuckets[tuple[int, int]] = TokenBuckets(1, 2)
    for user in ((1, 7), (2, 7)):
        assert [buckets.take(user, 0) for _ in range(3)] == [0, 0, 1]
    assert buckets.take((1, 7), 0, tokens=2) == 2
    assert buckets.take((1, 7), 2, tokens=2) == 0


def test_a_table_of_buckets_is_bounded_and_forgets_a_full_one_first():
    buckets: TokenBuckets[str] = TokenBuckets(1, 1, max_buckets=3)
    for number, address in enumerate("abc"):
        assert buckets.take(address, number / 4) == 0
    assert buckets.take("d", 1.1) == 0
    assert len(buckets) == 3
    assert buckets.take("b", 1.1) > 0
    assert buckets.take("c", 1.1) > 0


def test_nobody_gets_a_new_bucket_by_bringing_many_others_along():
    buckets: TokenBuckets[int] = TokenBuckets(1, 100, max_buckets=50)
    assert buckets.take(-1, 0, tokens=100) == 0
    for number in range(1000):
        assert buckets.take(number, number / 1000) == 0
    assert buckets.take(-1, 1, tokens=50) > 0
    assert len(buckets) == 50


def test_an_address_is_proven_for_a_day_and_few_are_remembered():
    proven = ProvenAddresses()
    proven.add("2001:db8::1", 0)
    assert proven.has("2001:db8::2", PROVEN_SECONDS - 1)
    assert not proven.has("2001:db8::2", PROVEN_SECONDS)
    assert not proven.has("192.0.2.1", 0)
    for number in range(MAX_PROVEN):
        proven.add(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1)
    assert len(proven) == MAX_PROVEN
    assert not proven.has("2001:db8::1", 1)


def test_what_one_host_has_is_counted_together():
    counts = AddressCounts()
    for peer in ("10.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0", "fe80::2"):
        counts.add(peer)
    assert [counts[peer] for peer in ("10.0.0.1", "10.0.0.2", "fe80::3", "fe80:0:0:1::3")] == [2, 0, 2, 0]
    counts.remove("10.0.0.1")
    assert counts["::ffff:10.0.0.1"] == 1
    counts.remove("10.0.0.1")
    assert counts["10.0.0.1"] == 0


def test_an_ipv6_host_is_its_network_of_64_bits():
    assert host_of("2001:db8:1:2::5") == host_of("2001:db8:1:2:ffff::1") != host_of("2001:db8:1:3::5")
