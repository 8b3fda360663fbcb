"""The reference Socket.IO server (npm) for the tests of the driver."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from djactors.web.node import NODE
from tests.clients.driver import HERE

START_SECONDS = 20.0


@asynccontextmanager
async def reference_server(*flags: str) -> AsyncIterator[str]:
    """Run ``reference_server.mjs`` with these flags on a free port and give its URL."""
    command = [str(NODE), str(HERE / "reference_server.mjs"), *flags]
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        process = await nursery.start(partial(trio.run_process, command, stdin=-1, stdout=-1, check=False))
        try:
            with trio.fail_after(START_SECONDS):
                said = b""
                while not said.endswith(b"\n"):
                    chunk = await process.stdout.receive_some()
                    assert chunk, "the reference server ended; its complaint is above"
                    said += chunk
            yield said.decode().removeprefix("listening on ").strip()
        except Exception as error:
            failure = error  # raised outside the nursery, which would wrap it into a group
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
