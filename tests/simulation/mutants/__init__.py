"""Deliberate bugs, each of which breaks one promise. A simulation that does not find them would find no others either.

Each is switched on for a run by its context manager and changes one thing of the server's code, as a careless change
might.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import FunctionType

from tests.simulation.mutants import admitting, counting, remembering, storing, telling
from tests.simulation.plan import draw
from tests.simulation.run import attempt

MUTANTS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    name: mutant
    for module in (storing, telling, remembering, counting, admitting)
    for name, mutant in vars(module).items()
    if isinstance(mutant, FunctionType) and mutant.__module__ == module.__name__ and not name.startswith("_")
}


def seeds_that_find(name: str, seeds: Sequence[int]) -> list[int]:
    """Of these seeds those that find a mutant."""
    return [seed for seed in seeds if attempt(draw(seed), MUTANTS[name]).findings]
