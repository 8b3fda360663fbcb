"""The load process: a `Target` on the first line of stdin, then commands; an answer on stdout for each.

It ends with its stdin, so that none is left behind whatever becomes of who started it.
"""

import asyncio
import gc
import os
import resource
import sys
from time import perf_counter
from typing import Any

import msgspec
import uvloop

from bench.load import events
from bench.load.commands import (
    Answered,
    Ask,
    Command,
    Connect,
    Connected,
    Done,
    During,
    Failed,
    Flood,
    Know,
    Leave,
    Miss,
    Mix,
    Mixed,
    Pace,
    Phase,
    Rest,
    Rested,
    Result,
    Return,
    Target,
)
from bench.load.crowd import BACKEND, Crowd, token
from bench.load.mix import Mixing
from bench.load.phase import Flooding, Meter, Numbers, Pacing, slices
from bench.load.publisher import BATCH, Publisher
from bench.load.recovery import Absent, miss, return_at_once
from bench.usage import memory

PRODUCERS = 4
"""Connections over which what is missed is posted."""


class Load:
    """The state between commands: who is connected, which numbers are taken."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._crowd = Crowd(target)
        self._movers = Crowd(target)
        self._numbers = Numbers()
        self._pacing: Pacing | None = None
        self._absent: Absent | None = None

    async def do(self, command: Command) -> Result:
        """Carry out one command. Raises OSError or RuntimeError when the server does not play along."""
        match command:
            case Know():
                return await self._know(command)
            case Connect():
                return await self._connect(command)
            case Leave():
                self._crowd.leave()
                return Done()
            case Pace():
                return await self._pace(command)
            case Flood():
                publisher = await self._publisher(command.producers)
                try:
                    return await Flooding(self._target, publisher, self._crowd, self._numbers, command).run()
                finally:
                    publisher.close()
            case Miss():
                return await self._miss(command)
            case Return():
                if self._absent is None:
                    raise RuntimeError("nobody has left")
                return await return_at_once(self._target, self._absent)
            case During():
                if self._pacing is None:
                    raise RuntimeError("nothing was posted at a pace")
                return self._pacing.during(command.since, command.until)
            case Rest():
                meter = Meter(self._target)
                await asyncio.sleep(command.seconds)
                alive = sum(1 for user in self._crowd.users.values() if not user.gone)
                return Rested(meter.read(), alive)
            case Mix():
                return await self._mix(command)
            case Ask():
                return await self._ask(command)

    async def _publisher(self, connections: int) -> Publisher:
        port = self._target.post_port or self._target.port
        publisher = Publisher(self._target.host, port, token(self._target, role="service"))
        await publisher.open(connections)
        return publisher

    async def _know(self, command: Know) -> Result:
        tenant = self._target.tenant
        publisher = await self._publisher(1)
        try:
            for numbers in slices(command.users, BATCH):
                await publisher.publish_all([events.known_user(number, tenant) for number in numbers])
            await publisher.publish_all([events.known_user(BACKEND, tenant)])
            known = self._numbers.jobs_known
            for numbers in slices(command.jobs, BATCH):
                await publisher.publish_all([events.job(known + number, tenant) for number in numbers])
            self._numbers.jobs_known += command.jobs
        finally:
            publisher.close()
        return Done()

    async def _connect(self, command: Connect) -> Connected:
        numbers = range(command.first, command.first + command.count)
        self._crowd.make_tokens(numbers)
        before = {name: memory(pid) for name, pid in self._target.processes.items()}
        meter = Meter(self._target)
        seconds, failures = await self._crowd.connect(numbers, at_once=command.at_once, recovery=command.recovery)
        use = meter.read()
        await asyncio.sleep(command.settle_seconds)
        after = {name: memory(pid) for name, pid in self._target.processes.items()}
        # The load's own pauses would be taken for the server's.
        gc.collect()
        gc.freeze()
        gc.disable()
        return Connected(seconds=seconds, failures=dict(failures), use=use, before=before, after=after)

    async def _pace(self, command: Pace) -> Phase:
        publisher = await self._publisher(command.producers)
        try:
            if command.warmup_seconds:
                warmup = msgspec.structs.replace(command, seconds=command.warmup_seconds)
                await Pacing(self._target, publisher, self._crowd, self._numbers, warmup).run()
            self._pacing = Pacing(self._target, publisher, self._crowd, self._numbers, command)
            return await self._pacing.run()
        finally:
            publisher.close()

    async def _miss(self, command: Miss) -> Done:
        publisher = await self._publisher(PRODUCERS)
        try:
            self._absent = await miss(self._target, publisher, self._numbers, command)
        finally:
            publisher.close()
        return Done()

    async def _mix(self, command: Mix) -> Mixed:
        publisher = await self._publisher(command.producers)
        try:
            if command.movers and not self._movers.users:
                first = max(self._crowd.users) + 1
                movers = range(first, first + command.movers)
                self._movers.make_tokens(movers)
                _, refused = await self._movers.connect(movers, at_once=64, recovery=True)
                if refused:
                    raise RuntimeError(f"not all movers could connect: {dict(refused)}")
            return await Mixing(self._target, publisher, self._crowd, self._movers, self._numbers, command).run()
        finally:
            publisher.close()

    async def _ask(self, command: Ask) -> Answered:
        who = token(self._target, role="user", userId=command.user)
        publisher = Publisher(self._target.host, self._target.port, who)
        await publisher.open(1)
        try:
            await publisher.get(command.path)
            meter = Meter(self._target)
            seconds = []
            for _ in range(command.times):
                began = perf_counter()
                status, body = await publisher.get(command.path)
                seconds.append(perf_counter() - began)
                if status != 200:
                    raise RuntimeError(f"GET {command.path}: {status} {body[:200]!r}")
            return Answered(seconds, meter.read())
        finally:
            publisher.close()


async def serve() -> None:
    """Answer commands until stdin ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    reader = asyncio.StreamReader(limit=2**24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    asyncio.get_running_loop().set_exception_handler(_fail)
    load = Load(msgspec.json.decode(await reader.readline(), type=Target))
    decode = msgspec.json.Decoder(Command).decode
    while line := await reader.readline():
        try:
            result: Result = await load.do(decode(line))
        except (OSError, RuntimeError) as error:
            result = Failed(f"{type(error).__name__}: {error}")
        sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
        sys.stdout.buffer.flush()


def _fail(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An error in a callback is the load's own: without an answer to wait for, it must not go on."""
    loop.default_exception_handler(context)
    os._exit(1)


if __name__ == "__main__":
    uvloop.run(serve())
