#!/usr/bin/env bash
# Software:  socket.io 4.8.4 as the server, socket.io-client 4.8.4 and python-socketio 5.18.1 (python-engineio 4.15.1,
#            aiohttp 3.14.5) as clients
# Surprise:  In Python, an event can overtake the event before it, so the unread count that is stored last may be the
#            oldest.
#
# The server sends three unread counts at once. python-socketio starts a thread for each event that arrives, or a task
# in the async client, and waits for none of them. If the handling of the first event takes longer, for example because
# a connection to a database is opened, the later events are done before it. The program ends up with the count 1,
# although 3 was sent last.
#
# One would expect that a handler has returned before the next event of the same connection is handled, as in
# JavaScript, and that a client that can await its handlers does so. In AsyncClient, a handler that only puts the event
# into a queue keeps the order. In Client, compare each event with the one that was stored last.
#
# Output seen (each handler waits 300 ms over the first event, and then stores the count):
#   socket.io-client: stored 1 2 3
#   python-socketio, Client: stored 2 3 1
#   python-socketio, AsyncClient: stored 2 3 1
set -euo pipefail

folder=$(mktemp -d)
server=
trap 'if [[ $server ]]; then kill "$server" || true; fi; rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >npm.log
npm install --silent --no-fund --no-audit socket.io@4.8.4 socket.io-client@4.8.4
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    'python-socketio[client]==5.18.1' python-engineio==4.15.1 aiohttp==3.14.5

cat >server.mjs <<'JS'
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const server = new Server(http);
server.on("connection", (socket) => {
  for (const count of [1, 2, 3]) socket.emit("unread", count);
});
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
JS

cat >client.mjs <<'JS'
import { io } from "socket.io-client";

const socket = io(process.argv[2], { transports: ["websocket"] });
const stored = [];
socket.on("unread", (count) => {
  const end = Date.now() + (count === 1 ? 300 : 0);
  while (Date.now() < end);
  stored.push(count);
  if (stored.length < 3) return;
  console.log("socket.io-client: stored", ...stored);
  socket.close();
});
JS

cat >client.py <<'PY'
import asyncio
import sys
import threading
import time

import socketio

url = sys.argv[1]


def with_threads():
    client = socketio.Client()
    stored = []
    done = threading.Event()

    @client.on("unread")
    def store(count):
        time.sleep(0.3 if count == 1 else 0)
        stored.append(count)
        if len(stored) == 3:
            done.set()

    client.connect(url, transports=["websocket"])
    done.wait(10)
    print("python-socketio, Client: stored", *stored)
    client.disconnect()


async def with_tasks():
    client = socketio.AsyncClient()
    stored = []
    done = asyncio.Event()

    @client.on("unread")
    async def store(count):
        await asyncio.sleep(0.3 if count == 1 else 0)
        stored.append(count)
        if len(stored) == 3:
            done.set()

    await client.connect(url, transports=["websocket"])
    await asyncio.wait_for(done.wait(), 10)
    print("python-socketio, AsyncClient: stored", *stored)
    await client.disconnect()


with_threads()
asyncio.run(with_tasks())
PY

coproc node server.mjs
server=$COPROC_PID
read -r port <&"${COPROC[0]}"
timeout 60 node client.mjs "http://127.0.0.1:$port" >seen
timeout 60 venv/bin/python client.py "http://127.0.0.1:$port" >>seen
cat seen
diff seen - <<'SEEN'
socket.io-client: stored 1 2 3
python-socketio, Client: stored 2 3 1
python-socketio, AsyncClient: stored 2 3 1
SEEN
