"""Every run of the protocol, within small bounds, keeps its promise; and each of its rules is needed for that."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.model.explore import explore
from tests.model.protocol import RULES, Bounds, Protocol


class Case(NamedTuple):
    """What is explored. The bounds are the largest that take some ten seconds."""

    shared: bool
    nodes: int
    bounds: Bounds


FILE = Case(shared=False, nodes=1, bounds=Bounds(changes=3, put_back=1, disconnects=2, purged=2))
ONE_NODE = Case(shared=True, nodes=1, bounds=Bounds(changes=2, put_back=1, disconnects=1, purged=1))
TWO_NODES = Case(shared=True, nodes=2, bounds=Bounds(changes=2, put_back=1, disconnects=0, purged=0))
THREE_CHANGES = TWO_NODES._replace(bounds=Bounds(changes=3, put_back=1, disconnects=0, purged=0))

NEEDED = {
    "marks": FILE,
    "one snapshot": FILE,
    "beginning": FILE,
    "numbers": FILE,
    "others wrote": FILE,
    "stamps": FILE,
    "given": ONE_NODE,
    "position": ONE_NODE,
    "chain": THREE_CHANGES,
}
"""Each rule, with the smallest case in which it is missed."""


@pytest.mark.parametrize("case", [FILE, ONE_NODE, TWO_NODES], ids=["a file", "one node", "two nodes"])
def test_no_run_is_wrong(case: Case) -> None:
    explored = explore(Protocol(shared=case.shared, bounds=case.bounds), case.nodes)
    assert explored.finding is None, explored.way
    assert explored.states > 10_000


@pytest.mark.parametrize("rule", sorted(RULES))
def test_each_rule_is_needed(rule: str) -> None:
    case = NEEDED[rule]
    explored = explore(Protocol(shared=case.shared, rules=RULES - {rule}, bounds=case.bounds), case.nodes)
    assert explored.finding is not None
