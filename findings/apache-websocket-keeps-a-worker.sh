#!/usr/bin/env bash
# Software:  Apache httpd 2.4.71 (Debian package apache2-bin) with the event MPM; websockets 17.4 as back end and client
# Surprise:  Each open WebSocket keeps a worker thread of the event MPM, and the next client waits without an error.
#
# The event MPM is chosen because a connection that only waits costs no thread. This is so for keep-alive. A WebSocket
# that is proxied with `upgrade=websocket` keeps its thread until it closes, silent or not. When all threads are kept,
# the kernel still accepts connections, so nobody is refused: pages, health checks and new WebSockets alike get no
# answer until somebody leaves. Apache says "server reached MaxRequestWorkers setting" in its log once, and nothing to
# the clients. There are 400 threads by default, and 150 in Debian, so the 151st open tab stops the site.
#
# One would expect that an event MPM waits for a WebSocket as it waits for keep-alive, as nginx and haproxy do, or that
# whoever gets no thread is told 503. Raise MaxRequestWorkers, ServerLimit and ThreadsPerChild to the number of people,
# or put another proxy in front.
#
# Output seen (4 worker threads, 8 clients of each kind; "waits" is no answer within 2 s):
#   keep-alive: 8 of 8 answered
#   WebSocket: 4 of 8 open, the others wait
#   a page meanwhile: waits
#   after 4 have left: 8 of 8 open
set -euo pipefail

folder=$(mktemp -d -p /tmp)
server=
trap 'if [[ $server ]]; then kill "$server" && wait "$server" || true; fi; rm -rf "$folder"' EXIT
cd "$folder"
chmod 755 .
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check websockets==17.4

/usr/sbin/apache2 -v
read -r front back < <(
    python3 <<'PY'
import socket

with socket.socket() as front, socket.socket() as back:
    for probe in front, back:
        probe.bind(("127.0.0.1", 0))
    print(front.getsockname()[1], back.getsockname()[1])
PY
)
cat >apache.conf <<CONF
ServerRoot $folder
DefaultRuntimeDir $folder
PidFile $folder/apache.pid
ErrorLog $folder/error.log
ServerName 127.0.0.1
Listen 127.0.0.1:$front
User www-data
Group www-data
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
ServerLimit 1
StartServers 1
ThreadLimit 4
ThreadsPerChild 4
MinSpareThreads 1
MaxSpareThreads 4
MaxRequestWorkers 4
KeepAliveTimeout 60
ProxyPass / http://127.0.0.1:$back/ upgrade=websocket
CONF
/usr/sbin/apache2 -D FOREGROUND -f "$folder/apache.conf" &
server=$!

cat >try.py <<'PY'
import asyncio
import contextlib
import sys
from http import HTTPStatus

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

front, back = int(sys.argv[1]), int(sys.argv[2])
PATIENCE = 2


def page(connection, request):
    # The back end answers what is no WebSocket with a page.
    if request.headers.get("Upgrade") is None:
        return connection.respond(HTTPStatus.OK, "a page\n")


async def stay(connection):
    await connection.wait_closed()


async def answered(reader, writer):
    """Get a page, and leave the connection open."""
    writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    try:
        async with asyncio.timeout(PATIENCE):
            status = await reader.readline()
            await reader.readuntil(b"a page\n")
    except TimeoutError:
        return False
    assert b" 200 " in status
    return True


@contextlib.asynccontextmanager
async def browser():
    reader, writer = await asyncio.open_connection("127.0.0.1", front)
    try:
        yield reader, writer
    finally:
        writer.close()


async def main():
    # Apache may not listen yet.
    for _ in range(100):
        with contextlib.suppress(OSError):
            async with browser():
                break
        await asyncio.sleep(0.1)

    async with contextlib.AsyncExitStack() as open_ones:
        browsers = [await open_ones.enter_async_context(browser()) for _ in range(8)]
        count = sum([await answered(*one) for one in browsers])
        print(f"keep-alive: {count} of 8 answered")

    async def websocket():
        return await connect(f"ws://127.0.0.1:{front}/", proxy=None, open_timeout=60, ping_interval=None)

    tries = [asyncio.create_task(websocket()) for _ in range(8)]
    await asyncio.sleep(PATIENCE)
    ready = [one for one in tries if one.done()]
    print(f"WebSocket: {len(ready)} of 8 open, the others wait")
    async with browser() as one:
        print("a page meanwhile:", "answered" if await answered(*one) else "waits")
    for one in ready:
        await (await one).close()
    async with asyncio.timeout(20):
        await asyncio.gather(*tries)
    print(f"after {len(ready)} have left: {sum(one.done() for one in tries)} of 8 open")
    for one in tries:
        await (await one).close()


async def with_back_end():
    async with serve(stay, "127.0.0.1", back, process_request=page, ping_interval=None):
        await main()


asyncio.run(with_back_end())
PY

timeout 60 venv/bin/python try.py "$front" "$back" | tee seen
grep --quiet "server reached MaxRequestWorkers setting" error.log
diff seen - <<'SEEN'
keep-alive: 8 of 8 answered
WebSocket: 4 of 8 open, the others wait
a page meanwhile: waits
after 4 have left: 8 of 8 open
SEEN
