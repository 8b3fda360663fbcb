"""Clients of a djactors server."""
