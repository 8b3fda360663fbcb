"""Benchmarks: ``python -m bench NAME``. Each runs the server as users do, in a process of its own."""
