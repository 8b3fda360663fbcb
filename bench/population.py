"""Many clients in one process: ``python -m bench.population djactors CPU``, or ``… python-socketio steps``.

It is told on stdin what to do. The first line is a `Plan`. Then ``connect`` is answered once all are connected,
``expect N`` once all together have had so many notifications, ``collect`` once the garbage is collected, and any other
word at once. Each answer is the seconds of CPU so far, or the steps of Python (see `counting.py`). With the end of
stdin the process ends. Each client is written as a program would write it, and has the same to do.
"""

import asyncio
import gc
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec

from bench.counting import Counting

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


Meter = Callable[[], float]
"""What was spent so far."""


async def _obey(plan: Plan, count: Count, line: str, start: Callable[[], None], rest: Rest) -> None:
    """Do what a line says."""
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


def _say(spent: float) -> None:
    print(spent, flush=True)


async def on_trio(plan: Plan, meter: Meter) -> None:
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

        _say(meter())
        while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            await _obey(plan, count, line, start, partial(trio.sleep, POLL_SECONDS))
            _say(meter())
        nursery.cancel_scope.cancel()


async def on_asyncio(plan: Plan, meter: Meter) -> None:
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

    _say(meter())
    while line := await asyncio.to_thread(sys.stdin.readline):
        await _obey(plan, count, line, start, partial(asyncio.sleep, POLL_SECONDS))
        _say(meter())


def main(kind: str, measured: str) -> None:
    """Run one kind."""
    meter: Meter = time.process_time
    if measured == "steps":
        counting = Counting()
        counting.is_on = True
        counting.install()
        meter = counting.total
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    plan = msgspec.json.decode(sys.stdin.readline(), type=Plan)
    if kind == "djactors":
        import trio

        trio.run(on_trio, plan, meter)
    else:
        asyncio.run(on_asyncio(plan, meter))


if __name__ == "__main__":
    main(*sys.argv[1:])
