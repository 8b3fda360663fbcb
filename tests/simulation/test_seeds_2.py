"""The second quarter of the suite's seeds."""

from tests.simulation.suite import seeds_of

test_nothing_is_wrong_whatever_happens = seeds_of(1)
