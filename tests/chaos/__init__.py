"""A run under faults, from a seed: stock clients behind a proxy that breaks connections, a server that is killed.

`python -m tests.chaos --seed N --minutes M` runs it for long, `test_chaos.py` for a short while. `plan` draws it all
from the seed before the run; `tests.history` judges it afterwards.
"""
