#!/usr/bin/env bash
# Software:  sse-starlette 3.7.0 (starlette 1.10.0, uvicorn 0.54.0) as the server; eventsource 4.1.1,
#            @microsoft/fetch-event-source 2.0.1 and httpx-sse 0.4.3 (httpx 0.28.1) as clients
# Surprise:  Heartbeats arrive as messages without data: in one client always, in another one after an event with an id.
#
# sse-starlette sends a comment and an empty line from time to time, so that proxies do not close an idle stream. By the
# HTML standard (9.2.6) a comment is no event, and a block without data is dropped.
#
# - fetch-event-source is used because it can send an Authorization header. It calls `onmessage` at each empty line,
#   whatever came before the line. `JSON.parse("")` raises, the client takes this for a fault of the connection, and it
#   connects anew, again and again.
# - httpx-sse drops a block only if the block has no data and no id is known. The last id stays known, as it must. So
#   heartbeats are dropped at first, and each of them is a message after the first event with an id.
#
# The usual heartbeat comes every 15 s, so a short trial does not show this. Here it comes every second.
#
# One would expect that a comment reaches no handler, as in eventsource and in browsers.
#
# Output seen:
#   without ids, eventsource: {"count":3}
#   without ids, fetch-event-source: {"count":3} "" ""
#   without ids, httpx-sse: {"count":3}
#   with ids, eventsource: {"count":3}
#   with ids, fetch-event-source: {"count":3} "" ""
#   with ids, httpx-sse: {"count":3} "" ""
#   fetch-event-source with JSON.parse: connected 4 times, after 3 times SyntaxError
set -euo pipefail

folder=$(mktemp -d)
server=
trap 'if [[ $server ]]; then kill "$server" || true; fi; rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >npm.log
npm install --silent --no-fund --no-audit @microsoft/fetch-event-source@2.0.1 eventsource@4.1.1
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    sse-starlette==3.7.0 starlette==1.10.0 uvicorn==0.54.0 httpx-sse==0.4.3 httpx==0.28.1

cat >server.py <<'PY'
import asyncio
import socket

import uvicorn
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.routing import Route


async def stream(request):
    async def events():
        yield ServerSentEvent('{"count":3}', id=request.query_params.get("id"))
        await asyncio.sleep(60)

    return EventSourceResponse(events(), ping=1)


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
application = Starlette(routes=[Route("/stream", stream)])
uvicorn.Server(uvicorn.Config(application, log_level="error")).run([listener])
PY

cat >client.mjs <<'JS'
import { setTimeout as sleep } from "node:timers/promises";
import { EventSource } from "eventsource";

// What fetch-event-source uses of a browser.
globalThis.window = globalThis;
globalThis.document = new EventTarget();
const { fetchEventSource } = await import("@microsoft/fetch-event-source");

const [url, name] = process.argv.slice(2);
async function twoHeartbeats(messages) {
  const end = Date.now() + 4500;
  while (messages.length < 3 && Date.now() < end) await sleep(10);
}

const messages = [];
const source = new EventSource(url);
source.onmessage = ({ data }) => messages.push(data || '""');
await twoHeartbeats(messages);
source.close();
console.log(`${name}, eventsource: ${messages.join(" ")}`);

messages.length = 0;
const stop = new AbortController();
fetchEventSource(url, {
  signal: stop.signal,
  openWhenHidden: true,
  onmessage: ({ data }) => messages.push(data || '""'),
});
await twoHeartbeats(messages);
stop.abort();
console.log(`${name}, fetch-event-source: ${messages.join(" ")}`);
process.exit();
JS

cat >parse.mjs <<'JS'
globalThis.window = globalThis;
globalThis.document = new EventTarget();
const { fetchEventSource } = await import("@microsoft/fetch-event-source");

const errors = [];
let connected = 0;
fetchEventSource(process.argv[2], {
  openWhenHidden: true,
  onopen: async () => {
    if (++connected < 4) return;
    console.log(`fetch-event-source with JSON.parse: connected 4 times, after ${errors.length} times ${errors[0]}`);
    process.exit();
  },
  onmessage: ({ data }) => JSON.parse(data),
  onerror: (error) => void errors.push(error.name),
});
JS

cat >client.py <<'PY'
import asyncio
import sys

import httpx
from httpx_sse import aconnect_sse


async def main(url, name):
    messages = []
    try:
        async with asyncio.timeout(4.5), httpx.AsyncClient() as client, aconnect_sse(client, "GET", url) as source:
            async for event in source.aiter_sse():
                messages.append(event.data or '""')
                if len(messages) == 3:
                    break
    except TimeoutError:
        pass
    print(f"{name}, httpx-sse: {' '.join(messages)}")


asyncio.run(main(*sys.argv[1:]))
PY

coproc timeout 120 venv/bin/python server.py
server=$COPROC_PID
read -r port <&"${COPROC[0]}"
url=http://127.0.0.1:$port/stream
for name in without with; do
    timeout 60 node client.mjs "$url" "$name ids"
    timeout 60 venv/bin/python client.py "$url" "$name ids"
    url+="?id=1"
done >seen
timeout 60 node parse.mjs "http://127.0.0.1:$port/stream" >>seen
cat seen
diff seen - <<'SEEN'
without ids, eventsource: {"count":3}
without ids, fetch-event-source: {"count":3} "" ""
without ids, httpx-sse: {"count":3}
with ids, eventsource: {"count":3}
with ids, fetch-event-source: {"count":3} "" ""
with ids, httpx-sse: {"count":3} "" ""
fetch-event-source with JSON.parse: connected 4 times, after 3 times SyntaxError
SEEN
