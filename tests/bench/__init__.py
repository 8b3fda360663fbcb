"""Tests of the benchmarks' own instruments: a wrong ruler measures nothing."""
