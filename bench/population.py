"""Many clients in one process: ``python -m bench.population djactors``, or ``… python-socketio``.

It is told on stdin what to do. The first line is a `Plan`. Then ``connect`` is answered once all are connected,
``expect N`` once all together have had so many notifications, ``collect`` once the garbage is collected, and ``cpu`` at
once; each answer is the seconds of CPU so far. With the end of stdin the process ends. Each client is written as a
program would write it, and has the same to do.
"""

import asyncio
import gc
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec

AT_ONCE = 50
"""Clients that connect at the same time."""

POLL_SECONDS = 0.02
"""How often it is looked whether all have come."""

NEW = "notification:new"


class Plan(msgspec.Struct):
    """Where to, and with which tokens: a client for each."""

    url: str
    tokens: list[str]


class Count:
    """What all clients have had together."""

    def __init__(self) -> None:
        self.connected = self.notified = 0


Rest = Callable[[], Awaitable[None]]
"""Lets the others have their turn for a moment."""


async def _obey(plan: Plan, count: Count, line: str, start: Callable[[], None], rest: Rest) -> str:
    """Do what a line says; the answer."""
    match line.split():
        case ["connect"]:
            start()
            while count.connected < len(plan.tokens):
                await rest()
        case ["expect", number]:
            while count.notified < int(number):
                await rest()
        case ["collect"]:
            gc.collect()
    return str(time.process_time())


def _say(word: str) -> None:
    print(word, flush=True)


async def on_trio(plan: Plan) -> None:
    """The clients of djactors."""
    import trio

    from djactors.client.socketio import Connected, Event, connect

    count = Count()
    free = trio.CapacityLimiter(AT_ONCE)

    async def live(token: str) -> None:
        await free.acquire_on_behalf_of(token)
        async with connect(plan.url, auth={"token": token}) as socket:
            async for item in socket:
                match item:
                    case Connected():
                        count.connected += 1
                        free.release_on_behalf_of(token)
                    case Event(name=name) if name == NEW:
                        count.notified += 1

    async with trio.open_nursery() as nursery:

        def start() -> None:
            for token in plan.tokens:
                nursery.start_soon(live, token)

        _say(str(time.process_time()))
        while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            _say(await _obey(plan, count, line, start, partial(trio.sleep, POLL_SECONDS)))
        nursery.cancel_scope.cancel()


async def on_asyncio(plan: Plan) -> None:
    """The clients of python-socketio."""
    import socketio

    count = Count()
    free = asyncio.Semaphore(AT_ONCE)
    clients: list[socketio.AsyncClient] = []
    tasks: list[asyncio.Future[None]] = []

    async def live(token: str) -> None:
        client = socketio.AsyncClient()
        clients.append(client)

        def notified(*_: object) -> None:
            count.notified += 1

        client.on(NEW, notified)
        async with free:
            await client.connect(plan.url, auth={"token": token}, transports=["websocket"])
        count.connected += 1

    def start() -> None:
        tasks.extend(asyncio.ensure_future(live(token)) for token in plan.tokens)

    _say(str(time.process_time()))
    while line := await asyncio.to_thread(sys.stdin.readline):
        _say(await _obey(plan, count, line, start, partial(asyncio.sleep, POLL_SECONDS)))


def main(kind: str) -> None:
    """Run one kind."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    plan = msgspec.json.decode(sys.stdin.readline(), type=Plan)
    if kind == "djactors":
        import trio

        trio.run(on_trio, plan)
    else:
        asyncio.run(on_asyncio(plan))


if __name__ == "__main__":
    main(sys.argv[1])
