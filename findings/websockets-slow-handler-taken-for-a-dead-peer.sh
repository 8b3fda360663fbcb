#!/usr/bin/env bash
# Software:  websockets 17.4
# Surprise:  A client with a slow handler closes a healthy connection, but only if enough messages wait.
#
# To notice a dead peer, websockets sends a ping and expects the pong within a time (both 20 s by default, 0.5 s here).
# The peer answers at once, and the event loop is free, since the handler awaits. But once many frames wait for the
# handler (`max_queue`, 16 by default), websockets stops reading from the network, to slow the sender down. The pong
# comes behind the messages, is not read, and the client closes the connection with 1011. The messages that were not
# read yet are lost. A handler that takes too long over one message does no harm while little happens. It does when many
# messages come at once, as after a reconnect.
#
# One would expect that keepalive judges the peer and not the reader, and that backpressure only slows things down. Give
# the slow work a task of its own. `max_queue=None` helps as well, but then nothing bounds the memory.
#
# Output seen (the handler takes 2 s over the first message, and no time over the others):
#   10 messages: all handled
#   200 messages: closed with 1011 (keepalive ping timeout), some messages lost
#   200 messages, max_queue=None: all handled
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check websockets==17.4

cat >try.py <<'PY'
import asyncio
import logging

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

logging.getLogger("websockets").setLevel(logging.CRITICAL)


async def attempt(count, **options):
    async def send(connection):
        for number in range(count):
            await connection.send(str(number))
        await connection.wait_closed()

    handled = 0
    async with serve(send, "127.0.0.1", 0, ping_interval=None) as server:
        port = server.sockets[0].getsockname()[1]
        uri = f"ws://127.0.0.1:{port}"
        try:
            async with connect(uri, ping_interval=0.5, ping_timeout=0.5, **options) as connection:
                while handled < count:
                    await connection.recv()
                    await asyncio.sleep(0 if handled else 2)
                    handled += 1
            outcome = "all handled"
        except ConnectionClosed as error:
            lost = "some" if 0 < handled < count else "no"
            outcome = f"closed with {error.sent.code} ({error.sent.reason}), {lost} messages lost"
    name = ", ".join([f"{count} messages", *(f"{option}={value}" for option, value in options.items())])
    print(f"{name}: {outcome}")


asyncio.run(attempt(10))
asyncio.run(attempt(200))
asyncio.run(attempt(200, max_queue=None))
PY

timeout 60 venv/bin/python try.py | tee seen
diff seen - <<'SEEN'
10 messages: all handled
200 messages: closed with 1011 (keepalive ping timeout), some messages lost
200 messages, max_queue=None: all handled
SEEN
