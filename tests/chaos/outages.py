"""What happens to the nodes of a run and to their PostgreSQL servers: the actions, and how a scenario draws them."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Literal, TypeAlias, get_args

import msgspec

Scenario = Literal[
    "kill",
    "freeze",
    "cut-from-database",
    "cut-from-clients",
    "restart",
    "failover-synchronous",
    "failover-asynchronous",
    "failover-pooled",
    "mixed",
]
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)

BETWEEN_SECONDS = 2.0
"""Time behind an outage in which nothing else of its kind happens, so that everybody may come back."""

LONGEST_SECONDS: dict[Scenario, float] = {
    "kill": 2.0,
    "freeze": 5.0,
    "cut-from-database": 4.5,
    "cut-from-clients": 4.0,
    "restart": 2.0,
    # The servers need a second or two to be copied and to take over.
    "failover-synchronous": 4.0,
    "failover-asynchronous": 5.0,
    "failover-pooled": 6.0,
    # They overlap.
    "mixed": 1.0,
}
"""How long an outage of each kind takes at most."""


MIXED: tuple[Scenario, ...] = (
    *("kill", "freeze", "cut-from-database", "cut-from-clients"),
    *("freeze", "cut-from-database", "restart", "failover-asynchronous"),
)
"""What happens in a mixed run: to the nodes more often than to the database."""


class Freeze(msgspec.Struct, frozen=True, tag="freeze"):
    """A node stands still (SIGSTOP) for some seconds."""

    node: int
    seconds: float


class KillNode(msgspec.Struct, frozen=True, tag="kill-node"):
    """A node is killed and started again `seconds` later. The time of the `expiring` oldest notifications is up."""

    node: int
    seconds: float
    expiring: int


class CutOff(msgspec.Struct, frozen=True, tag="cut-off"):
    """A node reaches the database no more, or its clients reach the node no more, for some seconds.

    A silent cut tells nobody: what is sent is swallowed, as by a cable that is pulled. Otherwise connections are reset.
    """

    node: int
    side: Literal["database", "clients"]
    seconds: float
    silent: bool


class RestartDatabase(msgspec.Struct, frozen=True, tag="restart-database"):
    """The PostgreSQL server ends and is started again `seconds` later. It ends in order, or as if it was killed."""

    seconds: float
    crash: bool


class FailOver(msgspec.Struct, frozen=True, tag="fail-over"):
    """The primary server is killed, and the standby takes over.

    A standby that is not synchronous was `behind` for some seconds, whose commits are lost.
    """

    behind: float


Outage: TypeAlias = KillNode | Freeze | CutOff | RestartDatabase | FailOver


def seconds_of(scenario: Scenario, times: int) -> float:
    """How long the outages of a run take together."""
    return times * (LONGEST_SECONDS[scenario] + BETWEEN_SECONDS)


def outages(
    random: Random, scenario: Scenario, *, first: float, times: int, nodes: int
) -> Iterator[tuple[float, Outage]]:
    """So many outages of a kind and their moments, one after the other."""
    every = LONGEST_SECONDS[scenario] + BETWEEN_SECONDS
    for number in range(times):
        at = first + number * every + random.uniform(0.0, BETWEEN_SECONDS / 2)
        yield round(at, 3), _outage(random, scenario, random.randrange(nodes))


def _outage(random: Random, scenario: Scenario, node: int) -> Outage:
    if scenario == "mixed":
        return _outage(random, random.choice(MIXED), node)
    longest = LONGEST_SECONDS[scenario]
    seconds = round(random.uniform(0.1 * longest, longest), 3)
    match scenario:
        case "kill":
            return KillNode(node, seconds, random.choice((0, 0, 5, 20)))
        case "freeze":
            return Freeze(node, seconds)
        case "cut-from-database":
            return CutOff(node, "database", seconds, random.random() < 0.5)
        case "cut-from-clients":
            return CutOff(node, "clients", seconds, random.random() < 0.5)
        case "restart":
            return RestartDatabase(seconds, random.random() < 0.5)
        case "failover-synchronous":
            return FailOver(0.0)
        case "failover-asynchronous" | "failover-pooled":
            return FailOver(round(random.uniform(0.5, 1.0), 3))
    raise AssertionError(scenario)
