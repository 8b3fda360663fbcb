"""Takes chance out of what is beneath a simulated run: Trio's scheduler, and the time at which memory is tidied up."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from random import Random
from typing import Any

import trio

from djactors import app

_load_site = cache(app.Site.load)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside the block Trio's scheduler goes by the seed.

    Trio sorts the tasks that are ready and shuffles them (`_core/_run.py`), as pytest-trio has it do under Hypothesis.
    The page is read once for all runs, because that takes as long as a tenth of a run.
    """
    run: Any = trio._core._run
    before = run._ALLOW_DETERMINISTIC_SCHEDULING, run._r, app.Site.load
    run._ALLOW_DETERMINISTIC_SCHEDULING, run._r = True, Random(f"scheduler {seed}")
    app.Site.load = _load_site  # type: ignore[method-assign]
    try:
        yield
    finally:
        run._ALLOW_DETERMINISTIC_SCHEDULING, run._r, app.Site.load = before  # type: ignore[method-assign]


@contextmanager
def untidied() -> Iterator[None]:
    """Inside the block memory is not tidied up. At its end all is that the block has left behind, and nothing else."""
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.collect()
        gc.unfreeze()
        gc.enable()
