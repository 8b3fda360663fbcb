#!/usr/bin/env bash
# Software:  socket.io 4.8.4 (engine.io 6.6.13) as the server, python-socketio 5.18.1 with
#            python-engineio 4.15.1 as the client
# Surprise:  A Python client that polls cannot connect to a server that greets it with 16 events.
#
# The server puts all packets that wait for a client into the answer of one poll. python-engineio refuses to decode
# more than 16 packets at once. This bound protects its server from clients, but the same code decodes what its client
# receives. With 16 events behind the answer to the CONNECT, the poll has 17 packets: the client gives up, and
# `connect` raises an error that does not name the reason. Over WebSocket each packet comes alone, so the same server
# and client work.
#
# One would expect that the transport changes nothing about what arrives.
#
# Output seen:
#   15 events by polling: 15 arrived
#   16 events by polling: ConnectionError
#   16 events by websocket: 16 arrived
set -euo pipefail

folder=$(mktemp -d)
server=
trap 'if [[ $server ]]; then kill "$server" || true; fi; rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >npm.log
npm install --silent --no-fund --no-audit socket.io@4.8.4 engine.io@6.6.13
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check 'python-socketio[client]==5.18.1' python-engineio==4.15.1

cat >server.mjs <<'JS'
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const server = new Server(http);
server.on("connection", (socket) => {
  for (let number = 1; number <= Number(process.argv[2]); number++) socket.emit("news", number);
});
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
JS

cat >client.py <<'PY'
import sys
import threading

import socketio

count, transport, port = int(sys.argv[1]), sys.argv[2], sys.argv[3]
client = socketio.Client(reconnection=False)
arrived = []
done = threading.Event()


@client.on("news")
def take(number):
    arrived.append(number)
    if len(arrived) == count:
        done.set()


try:
    client.connect(f"http://127.0.0.1:{port}", transports=[transport])
    done.wait(10)
    outcome = f"{len(arrived)} arrived"
    client.disconnect()
except socketio.exceptions.ConnectionError as error:
    outcome = type(error).__name__
print(f"{count} events by {transport}: {outcome}")
PY

while read -r count transport; do
    coproc node server.mjs "$count"
    server=$COPROC_PID
    read -r port <&"${COPROC[0]}"
    timeout 30 venv/bin/python client.py "$count" "$transport" "$port" </dev/null
    kill "$server"
    wait "$server" || true
    server=
done <<'TRIES' >seen
15 polling
16 polling
16 websocket
TRIES
cat seen
diff seen - <<'SEEN'
15 events by polling: 15 arrived
16 events by polling: ConnectionError
16 events by websocket: 16 arrived
SEEN
