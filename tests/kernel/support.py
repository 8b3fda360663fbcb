"""The actors that the tests run, and a supervisor to run them under."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from djactors.kernel import Actor, ActorRef, ActorSpec, AnySpec, Backoff, Envelope, Supervisor, SupervisorEvent

# Delays that a test can reckon with: 1, 2, 4, 8, 8 …
STEADY = Backoff(initial=1, factor=2, maximum=8, jitter=0)


class Boom(Exception):
    """What crashes an actor on purpose."""


class Scribe(Actor[Any, Any]):
    """Writes what it does into a journal shared by all of its incarnations; crashes on the message "boom".

    A message that is a coroutine function is called with the scribe, and its result is the answer.
    """

    def __init__(self, journal: list[Any]) -> None:
        self.journal = journal

    async def on_start(self) -> None:
        self.journal.append("start")

    async def on_message(self, message: Any) -> object:
        if message == "boom":
            raise Boom(message)
        if callable(message):
            return await message(self)
        self.journal.append(message)
        return ("done", message)

    async def on_stop(self) -> None:
        self.journal.append("stop")


class BatchScribe(Actor[Any, Any]):
    """Journals whole batches; answers up to the message "boom" and crashes there."""

    batch_limit = 10

    def __init__(self, journal: list[Any]) -> None:
        self.journal = journal

    async def on_batch(self, batch: Sequence[Envelope[Any, Any]]) -> None:
        self.journal.append([envelope.message for envelope in batch])
        await trio.lowlevel.checkpoint()
        for envelope in batch:
            if envelope.message == "boom":
                raise Boom
            if envelope.message == "refused":
                envelope.fail(LookupError("no such thing"))
            elif envelope.message != "ignored":
                envelope.answer(("done", envelope.message))


def scribe(name: str, journal: list[Any], *, kind: type[Scribe] = Scribe, **options: Any) -> ActorSpec[Any, Any]:
    return ActorSpec(name, lambda: kind(journal), **{"backoff": STEADY, **options})


async def pause_forever(_: Scribe) -> None:
    await trio.sleep_forever()


def gate() -> tuple[trio.Event, Callable[[Scribe], Awaitable[None]]]:
    """An event and a message that keeps a scribe busy until the event is set."""
    opened = trio.Event()

    async def wait(_: Scribe) -> None:
        await opened.wait()

    return opened, wait


class NamedTree(Supervisor):
    """A supervisor whose first children can also be reached by name, and untyped."""

    def __init__(self, name: str, children: Sequence[AnySpec] = (), **options: Any) -> None:
        super().__init__(name, children, **options)
        self._specs = {spec.name: spec for spec in children if isinstance(spec, ActorSpec)}

    def named(self, name: str) -> ActorRef[Any, Any]:
        return self.ref(self._specs[name])


@asynccontextmanager
async def running(
    *specs: AnySpec, on_event: Callable[[SupervisorEvent], None] = lambda _: None, max_children: int = 10_000
) -> AsyncIterator[NamedTree]:
    """A supervisor that is stopped in good order at the end of the block."""
    supervisor = NamedTree("tree", specs, on_event=on_event, rng=random.Random(1), max_children=max_children)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        yield supervisor
        supervisor.request_stop()
