"""Takes chance out of what is beneath a simulated run: Trio's scheduler, and the time at which memory is tidied up."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache
from random import Random
from typing import Any

import trio

from djactors import app
from djactors.watchdog import Watchdog
from tests.simulation.instead import instead

_load_site = cache(app.Site.load)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside the block Trio's scheduler goes by the seed.

    Trio sorts the tasks that are ready and shuffles them (`_core/_run.py`), as pytest-trio has it do under Hypothesis.
    What would only take time is left out: the page is read once for all runs, and nobody looks how long a turn of the
    loop takes, since turns take no time by the virtual clock.
    """
    run: Any = trio._core._run
    site: Any = app.Site
    lowlevel: Any = trio.lowlevel
    replacements: list[tuple[Any, str, Any]] = [
        (run, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
        (run, "_r", Random(f"scheduler {seed}")),
        (site, "load", _load_site),
        (Watchdog, "watching", lambda _: nullcontext()),
        (lowlevel, "add_instrument", lambda _: None),
        (lowlevel, "remove_instrument", lambda _: None),
    ]
    with ExitStack() as stack:
        for replacement in replacements:
            stack.enter_context(instead(*replacement))
        yield


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
