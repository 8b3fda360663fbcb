"""Which tenants a batch of commands will touch on a database that several nodes share: they are held beforehand.

A command of the whole installation touches the tenants of the rows that are due. They are looked for without a lock
here, and looked for again by the command itself, under the locks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from djactors.domain.commands import (
    Command,
    ExpireSlice,
    NoteRoom,
    Publish,
    PurgeSlice,
    RaiseAlerts,
    SendSummaries,
    WakeSnoozed,
    checked,
)
from djactors.domain.ids import MAX_ID
from djactors.domain.times import from_text
from djactors.inbox import alerts, days, places, retention, room
from djactors.inbox.known import Known
from djactors.inbox.prefetch import Needs
from djactors.inbox.sharing import Sharing
from djactors.store.connection import Connection

COMMANDS_OF_A_UNIT = 1000
"""Commands for which tenants are held and rows fetched beforehand: as many as the largest batch post. The others are
left for the next commit."""

_DUE: Mapping[type, tuple[str, int]] = {
    RaiseAlerts: (alerts.SELECT_DUE, 0),
    SendSummaries: (days.SELECT_DUE, 0),
    WakeSnoozed: (places.SELECT_DUE, 1),
    ExpireSlice: (retention.SELECT_EXPIRED, 1),
}
"""What finds the rows that are due, and where they have the tenant's id."""

Held: TypeAlias = tuple[Sequence[Command], Needs, Sharing]
"""The commands to carry out, the first so many; what those of them will ask for that are not refused at once; and what
is held."""


def hold(connection: Connection, known: Known, node: str, commands: Sequence[Command], now: str) -> Held:
    """Hold all tenants that the commands will touch. `now` is the time as it is stored."""
    sharing = Sharing(connection, known, node)
    commands = commands[:COMMANDS_OF_A_UNIT]
    needs = Needs()
    tenant_ids: set[int] = set()
    for command in map(_checked, commands):
        if command is not None:
            tenant_ids.update(_tenants_of(connection, sharing, command, now))
            needs.note(command)
    sharing.lock([tenant_id for tenant_id in tenant_ids if 1 <= tenant_id <= MAX_ID], needs.ids)
    return commands, needs, sharing


def _checked(command: Command) -> Command | None:
    """A command as it will be carried out; None if it cannot be. It then fails again, and alone, in its turn."""
    if type(command) is Publish and command.decoded:
        return command
    try:
        return checked(command)
    except Exception:  # noqa: BLE001 - as the docstring says
        return None


def _tenants_of(connection: Connection, sharing: Sharing, command: Command, now: str) -> Iterable[int]:
    match command:
        case Publish():
            return [command.event.tenant_id]
        case NoteRoom():
            if not sharing.take_turn(command):
                return []
            _, admins = room.to_tell(connection, command, from_text(now))
            return [tenant_id for tenant_id, _ in admins]
        case RaiseAlerts() | SendSummaries() | WakeSnoozed() | ExpireSlice() | PurgeSlice():
            # Purging locks by itself, in the order of the tenants; see `retention`.
            if not sharing.take_turn(command) or isinstance(command, PurgeSlice):
                return []
            statement, place = _DUE[type(command)]
            return [row[place] for row in connection.execute(statement, (now, command.limit)).fetchall()]
        case _:
            return [command.tenant_id]
