#!/usr/bin/env bash
# Software:  socket.io 4.8.4 as the server, socket.io-client 4.8.4 and python-socketio 5.18.1 (python-engineio 4.15.1)
#            as clients
# Surprise:  When the server refuses a client that reconnects, the JavaScript client gives up for good, and the Python
#            client tries for ever.
#
# The connection breaks. Meanwhile the token has expired, so the server's middleware answers the next CONNECT with an
# error. The JavaScript client makes no further try, although its `reconnection` is on and has no limit: it emits
# "connect_error" once, and `socket.active` is false. A page that only shows the error gets no more events. The Python
# client takes the refusal for a fault of the network and tries again with the same token, as long as the process lives.
#
# One would expect that clients of one protocol agree on whether a refusal is final. In JavaScript, get a new token and
# call `connect()` if `socket.active` is false. In Python, give `auth` as a function, which is called for each try, or
# call `shutdown()` in the handler of "connect_error".
#
# Output seen (after 4 s with a delay of 0.2 s between tries; both are accepted once, and then refused):
#   socket.io-client: refused once, connect_error told once, active false
#   python-socketio: refused 10 times or more, connect_error told as often
set -euo pipefail

folder=$(mktemp -d)
server=
trap 'if [[ $server ]]; then kill "$server" || true; fi; rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >npm.log
npm install --silent --no-fund --no-audit socket.io@4.8.4 socket.io-client@4.8.4
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check 'python-socketio[client]==5.18.1' python-engineio==4.15.1

cat >server.mjs <<'JS'
import { createServer } from "node:http";
import { Server } from "socket.io";

const tries = {};
const http = createServer((request, response) => response.end(String(tries[request.url.slice(1)] - 1)));
const server = new Server(http);
server.use((socket, next) => {
  const { name } = socket.handshake.auth;
  tries[name] = (tries[name] ?? 0) + 1;
  next(tries[name] === 1 ? undefined : new Error("the token has expired"));
});
server.on("connection", (socket) => setTimeout(() => socket.conn.close(), 200));
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
JS

cat >client.mjs <<'JS'
import { setTimeout as sleep } from "node:timers/promises";
import { io } from "socket.io-client";

const url = process.argv[2];
const socket = io(url, { auth: { name: "javascript" }, reconnectionDelay: 200, reconnectionDelayMax: 200 });
let told = 0;
socket.on("connect_error", () => told++);
await sleep(4000);
const refused = await (await fetch(`${url}/javascript`)).text();
const times = (number) => (Number(number) === 1 ? "once" : `${number} times`);
const { active } = socket;
console.log(`socket.io-client: refused ${times(refused)}, connect_error told ${times(told)}, active ${active}`);
process.exit();
JS

cat >client.py <<'PY'
import sys
import time
from urllib.request import urlopen

import socketio

url = sys.argv[1]
client = socketio.Client(reconnection_delay=0.2, reconnection_delay_max=0.2, randomization_factor=0)
told = 0


@client.event
def connect_error(reason):
    global told
    told += 1


client.connect(url, auth={"name": "python"})
time.sleep(4)
client.shutdown()
refused = int(urlopen(f"{url}/python").read())
count = "10 times or more" if refused >= 10 else f"{refused} times"
print(f"python-socketio: refused {count}, connect_error told {'as often' if told == refused else f'{told} times'}")
PY

coproc node server.mjs
server=$COPROC_PID
read -r port <&"${COPROC[0]}"
timeout 30 node client.mjs "http://127.0.0.1:$port" >seen
timeout 30 venv/bin/python client.py "http://127.0.0.1:$port" >>seen
cat seen
diff seen - <<'SEEN'
socket.io-client: refused once, connect_error told once, active false
python-socketio: refused 10 times or more, connect_error told as often
SEEN
