"""The second quarter of the suite's seeds."""

from tests.simulation.suite import tests_of

test_nothing_is_wrong_whatever_happens = tests_of(1)
