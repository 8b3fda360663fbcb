"""What mypy says of those who ask the router. See `test_typing.py` for the comments; nothing here is run."""

from __future__ import annotations

from typing import reveal_type

from djactors.actors.command_ref import CommandRef, PublishAll, RouterMessage, RouterReply, command_ref
from djactors.actors.router import Router
from djactors.domain.commands import Counted, Delete, ExpireSlice, InboxCommand, MarkRead, Publish, Published
from djactors.domain.permissions import Person
from djactors.kernel import ActorRef, ActorSpec, Supervisor


async def ask(router: CommandRef, publish: Publish, command: InboxCommand, either: Publish | Delete) -> None:
    reveal_type(await router.ask(publish, 1))  # reveals: djactors.domain.commands.Published
    reveal_type(await router.ask_nowait(MarkRead(1, 2, 3), 1))  # reveals: djactors.domain.commands.Counted
    reveal_type(await router.ask_nowait(command, 1))  # reveals: djactors.domain.commands.Counted
    reveal_type(await router.ask(ExpireSlice(9), 1))  # reveals: djactors.domain.commands.Sliced
    both = await router.ask(either, 1)
    reveal_type(both)  # reveals: djactors.domain.commands.Published | djactors.domain.commands.Counted
    outcomes = await router.ask_nowait(PublishAll((publish,)), 1)
    reveal_type(outcomes)  # reveals: list[djactors.domain.commands.Published | Exception]
    print((await router.ask(publish, 1)).count)  # error: attr-defined
    published: Published = await router.ask(command, 1)  # error: assignment
    print(published)
    await router.ask(Person(1, "user", "Jo"), 1)  # error: call-overload
    await router.ask("publish", 1)  # error: call-overload
    router.tell_nowait(outcomes)  # error: arg-type


def counted(outcome: Counted | Exception) -> None: ...


def request(router: CommandRef, publish: Publish, command: InboxCommand) -> None:
    router.request_nowait(command, counted)
    router.request_nowait(publish, counted)  # error: arg-type


def refs(root: Supervisor, router: ActorSpec[RouterMessage, RouterReply], other: ActorRef[str, None]) -> None:
    fits: CommandRef = command_ref(root.ref(router))
    command_ref(other)  # error: arg-type
    print(fits)


def routers(make: type[Router]) -> None:
    spec: ActorSpec[str, int] = ActorSpec("router", make)  # error: arg-type
    print(spec)
