"""What is wrong with a running installation, worst first, and what to do about each.

The bounds are those of the alert rules (`djactors/monitoring/alerts.yml`), as far as these have the same cause. A
person who looks now is told at once; a rule waits whether it lasts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from djactors.actors.neighbours import TYPES_DIFFER
from djactors.edge.survey import Node
from djactors.operations.top.looking import WINDOW, Look

LONG_TURN: Final = 0.1
"""Seconds of one turn of the event loop: from here on the log names the line that took so long."""

SLOW_DELIVERY: Final = 0.5
"""Seconds from the commit to the client: DJ System's bound for what people perceive as at once."""

SLOW_COMMIT: Final = 0.25
"""Seconds of a commit. A disk that does its work takes a few milliseconds, and a slow one some tens."""

FILLED: Final = 0.5
"""The part of a queue that is full. From all of it on, requests are refused."""

MANY_REFUSALS: Final = 60.0
"""Refusals in a minute. Some belong to every day: expired tokens, pages of strangers."""

GONE_SECONDS: Final = 10.0
"""Seconds since a node has said that it is there. It says so every few seconds."""

MAX_REASONS: Final = 3
"""Reasons of refusals that are named: the line must fit."""

GOING: Final = frozenset({"starting", "running", "stopping", "stopped"})
"""States of an actor in which nothing is wrong with it."""


@dataclass(frozen=True)
class Trouble:
    """Something that is wrong. `grave` tells whether people notice it by now."""

    what: str
    do: str
    grave: bool = True


def _slight(what: str, do: str) -> Trouble:
    return Trouble(what, do, grave=False)


def troubles(look: Look) -> list[Trouble]:
    """All that is wrong, what is grave first."""
    found = [
        *_server(look),
        *_actors(look),
        *_queues(look),
        *_times(look),
        *_nodes(look),
        *_warnings(look),
        *_losses(look),
    ]
    return sorted(found, key=lambda trouble: not trouble.grave)


def _server(look: Look) -> Iterator[Trouble]:
    store = look.condition.store
    if look.unready is not None:
        yield Trouble(f"takes no requests: {look.unready}", "see the log; posts are answered 503 meanwhile")
    if store.state != "running":
        yield Trouble(f"the store is {store.state}: {store.last_error}", "`djactors check`, then start again")


def _actors(look: Look) -> Iterator[Trouble]:
    for node in nodes_of(look.condition.tree):
        crashes = look.crashes.get(node.name, 0)
        if node.state not in GOING:
            yield Trouble(f"{node.name} is {node.state}: {node.last_error}", "the log has its traceback")
        elif crashes:
            error = f": {node.last_error}" if node.last_error else ""
            yield _slight(f"{node.name} crashed {crashes} times in a minute{error}", "the log has its traceback")
    quarantined = look.condition.users.quarantined
    if quarantined:
        who = "1 user is" if quarantined == 1 else f"{quarantined} users are"
        yield Trouble(f"{who} set aside because of failures", "the log has the traceback")


def _queues(look: Look) -> Iterator[Trouble]:
    store = look.condition.store
    queues = [("the writer's queue", store.writes_queued, store.write_capacity)]
    queues.append(("the readers' queue", store.reads_queued, store.read_capacity))
    for node in nodes_of(look.condition.tree):
        mailbox = node.mailbox
        if mailbox is not None:
            queues.append((f"the mailbox of {node.name}", mailbox.depth, mailbox.capacity))
    for name, depth, capacity in queues:
        if capacity and depth >= capacity * FILLED:
            yield Trouble(f"{name} has {depth} of {capacity}", "slow the senders down, or see how long commits take")


def _times(look: Look) -> Iterator[Trouble]:
    worst = look.condition.loop.worst
    if worst >= LONG_TURN:
        yield _slight(f"a turn of the loop took {seconds(worst)}", "the log names it: `the event loop was held up`")
    if look.commit is not None and look.commit[1] > SLOW_COMMIT:
        yield Trouble(f"commits take up to {bound(look.commit[1])}", "see what else writes to the disk")
    if look.delivery is not None and look.delivery[1] > SLOW_DELIVERY:
        yield Trouble(f"deliveries take up to {bound(look.delivery[1])}", "see the loop and the processor")


def _nodes(look: Look) -> Iterator[Trouble]:
    others = _with_other_types(look)
    for node in look.condition.nodes or ():
        if node.seen_ago > GONE_SECONDS:
            yield Trouble(f"node {node.name} was seen {node.seen_ago:.0f} s ago", "start it, unless it was stopped")
        elif node.name in others:
            yield _slight(
                f"node {node.name} has other notification types", "give all nodes the same ones, and start them anew"
            )


def _with_other_types(look: Look) -> list[str]:
    """The names of the nodes at work whose notification types differ from those of the node that answers."""
    nodes = look.condition.nodes or ()
    types = next((node.types for node in nodes if node.is_this), "")
    return [node.name for node in nodes if types and node.types not in ("", types) and node.seen_ago <= GONE_SECONDS]


def _warnings(look: Look) -> Iterator[Trouble]:
    """What the server warns of in the answer of `/readyz`."""
    for warning in look.warnings:
        # The nodes are named above, and this warning only says to look here.
        if TYPES_DIFFER in warning and _with_other_types(look):
            continue
        yield _slight(warning, "`djactors check` says more, and what to do")


def _losses(look: Look) -> Iterator[Trouble]:
    dropped = look.grown.get(("djactors_log_lines_dropped_total", ""), 0)
    if dropped:
        yield _slight(f"{dropped:.0f} log lines were dropped", "see what reads the log")
    refused = {key[1]: count for key, count in look.grown.items() if key[0] == "djactors_refusals_total"}
    total = sum(refused.values())
    if total >= MANY_REFUSALS:
        most = sorted(refused, key=lambda reason: -refused[reason])[:MAX_REASONS]
        named = ", ".join(f"{reason} {refused[reason]:.0f}" for reason in most)
        yield _slight(f"{total:.0f} refusals in {WINDOW:.0f} s: {named}", "the log has the mend of each")


def nodes_of(node: Node) -> Iterator[Node]:
    """A node of the tree and all below it."""
    yield node
    for child in node.children:
        yield from nodes_of(child)


def seconds(value: float) -> str:
    """A duration for people."""
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"


def bound(value: float) -> str:
    """An upper bound of durations for people."""
    return "more than 5 s" if value == float("inf") else seconds(value)
