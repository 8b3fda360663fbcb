"""Shared fixtures of the whole suite."""
