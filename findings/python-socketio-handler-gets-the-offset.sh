#!/usr/bin/env bash
# Software:  socket.io 4.8.4 (socket.io-adapter 2.5.9) as the server, python-socketio 5.18.1 with
#            python-engineio 4.15.1 as the client
# Surprise:  Once the server switches connectionStateRecovery on, Python handlers with one parameter lose every event.
#
# With connection state recovery, socket.io appends an offset to each event as one more argument. It does so for every
# client, also for one that has never asked for recovery. A JavaScript handler ignores an argument that it does not
# name. A Python handler with one parameter raises TypeError. The client prints the traceback from a background thread
# and stays connected, and the application never sees the event.
#
# One would expect that an option of the server that is about reconnecting changes nothing for clients that do not
# know it. A handler that takes `*rest` gets the event and the offset.
#
# Output seen:
#   recovery off: one parameter [1], any number [(1,)], connected True
#   recovery on: one parameter [], any number [(1, 'TEXT')], connected True
set -euo pipefail

folder=$(mktemp -d)
server=
trap 'if [[ $server ]]; then kill "$server" || true; fi; rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >npm.log
npm install --silent --no-fund --no-audit socket.io@4.8.4 socket.io-adapter@2.5.9
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check 'python-socketio[client]==5.18.1' python-engineio==4.15.1

cat >server.mjs <<'JS'
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const server = new Server(http, process.argv[2] === "on" ? { connectionStateRecovery: {} } : {});
server.on("connection", (socket) => {
  socket.emit("strict", 1);
  socket.emit("lenient", 1);
});
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
JS

cat >client.py <<'PY'
import sys
import threading

import socketio

client = socketio.Client(reconnection=False)
strict, lenient = [], []
done = threading.Event()


@client.on("strict")
def take_one(number):
    strict.append(number)


@client.on("lenient")
def take_any(*arguments):
    lenient.append(tuple("TEXT" if isinstance(one, str) else one for one in arguments))
    done.set()


client.connect(f"http://127.0.0.1:{sys.argv[2]}", transports=["websocket"])
assert done.wait(10), "the event that comes second never arrived"
client.sleep(0.3)  # each event is handled in a thread of its own
print(f"recovery {sys.argv[1]}: one parameter {strict}, any number {lenient}, connected {client.connected}")
client.disconnect()
PY

for recovery in off on; do
    coproc node server.mjs "$recovery"
    server=$COPROC_PID
    read -r port <&"${COPROC[0]}"
    timeout 30 venv/bin/python client.py "$recovery" "$port" 2>>errors
    kill "$server"
    wait "$server" || true
    server=
done >seen
cat seen
diff seen - <<'SEEN'
recovery off: one parameter [1], any number [(1,)], connected True
recovery on: one parameter [], any number [(1, 'TEXT')], connected True
SEEN
grep -q 'TypeError: take_one() takes 1 positional argument but 2 were given' errors
