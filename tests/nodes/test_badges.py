"""Of several nodes: what a client shows that takes the counts of events and of acks as they come on its socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.domain.commands import Archive, Counted, Delete, InboxCommand, MarkAllRead, MarkRead, MarkSeen
from tests.actors.house import COUNT, note
from tests.nodes.house import running_nodes

ANN = 11

COMMANDS: list[InboxCommand] = [
    # The first one changes the counts. Of the others, one changes something else and the rest nothing at all.
    Delete(1, ANN, 2),
    Archive(1, ANN, 1),
    MarkRead(1, ANN, 1),
    MarkAllRead(1, ANN),
    MarkSeen(1, ANN),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
async def test_an_ack_is_not_older_than_what_another_nodes_commit_has_told(
    path: Path, autojump_clock: Any, command: InboxCommand
) -> None:
    async with running_nodes(path) as ((one, other), _):
        await one.do(note(ANN))
        await one.do(MarkRead(1, ANN, 1))
        if isinstance(command, Delete):
            await one.do(note(ANN))
        await one.do(MarkSeen(1, ANN))
        socket = await one.connected(ANN)
        shown: list[int] = []
        packets_before = len(socket.packets)

        async def meanwhile() -> None:
            """The command is committed here. Before its answer, the other node commits, and that is told."""
            one.store.after_record = one.store._pass
            other.send(note(ANN))
            while not (counts := [each for each in socket.packets[packets_before:] if each.name == COUNT]):
                await trio.lowlevel.checkpoint()
            shown.append(counts[-1].body["count"])

        def take(answer: Counted | Exception) -> None:
            assert isinstance(answer, Counted)
            shown.append(answer.count)

        one.store.after_record = meanwhile
        one.router.request_nowait(command, take)
        await wait_all_tasks_blocked()
        assert shown == [1, 1]
