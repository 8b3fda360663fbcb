"""Looks at every state that a protocol can come to, breadth first, so that what it finds is as short as can be."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from tests.model.protocol import Protocol, State, wrong


class Explored(NamedTuple):
    """What came of an exploration: how many states there are, and the shortest way to a wrong one, if there is any."""

    states: int
    finding: str | None = None
    way: tuple[str, ...] = ()


def explore(protocol: Protocol, nodes: int, most: int = 5_000_000) -> Explored:
    """Explore all states within the protocol's bounds.

    Raises:
        OverflowError: there are more than `most`.
    """
    start = protocol.start(nodes)
    before: dict[State, tuple[State, str] | None] = {start: None}
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        for steps in (protocol.inside(state), protocol.outside(state)):
            for name, after in steps:
                if after in before:
                    continue
                before[after] = state, name
                finding = wrong(protocol, after)
                if finding is not None:
                    return Explored(len(before), finding, _way(before, after))
                waiting.append(after)
        if len(before) > most:
            raise OverflowError(f"more than {most} states")
    return Explored(len(before))


def _way(before: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    names: list[str] = []
    while (step := before[state]) is not None:
        state, name = step
        names.append(name)
    return tuple(reversed(names))
