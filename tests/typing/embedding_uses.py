"""What mypy says of programs that embed a server. See `test_typing.py` for the comments; nothing here is run."""

from __future__ import annotations

from typing import reveal_type

import djactors
from djactors.app import Server
from djactors.domain.commands import Publish, Published
from djactors.domain.errors import Refused
from djactors.domain.events import DomainEvent, NotificationRequested


async def publish(server: Server, event: NotificationRequested, events: list[DomainEvent]) -> None:
    reveal_type(await server.publish(event))  # reveals: djactors.domain.commands.Published
    outcomes = await server.publish_all([event, *events])
    reveal_type(outcomes)  # reveals: list[djactors.domain.commands.Published | Exception]
    for outcome in outcomes:
        match outcome:
            case Published(event_id=event_id):
                reveal_type(event_id)  # reveals: int
            case Refused(code=code):
                print(code)
            case other:
                reveal_type(other)  # reveals: Exception
    print(outcomes[0].answer)  # error: union-attr
    await server.publish(Publish(event))  # error: arg-type
    await server.publish_all(event)  # error: arg-type
    await server.publish({"type": "user.upserted"})  # error: arg-type


def block(event: NotificationRequested) -> None:
    with djactors.portal({"database": "inbox.db"}) as portal:
        reveal_type(portal)  # reveals: djactors.embedded._portal.Portal
        reveal_type(portal.publish(event).event_id)  # reveals: int
        reveal_type(portal.publish_all([event]))  # reveals: list[djactors.domain.commands.Published | Exception]
        portal.publish("event")  # error: arg-type
    djactors.portal(5)  # error: arg-type


async def wait(event: NotificationRequested) -> None:
    async with djactors.portal() as portal:
        reveal_type(portal)  # reveals: djactors.embedded._portal.AsyncPortal
        reveal_type((await portal.publish(event)).event_id)  # reveals: int
