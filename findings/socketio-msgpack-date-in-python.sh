#!/usr/bin/env bash
# Software:  socket.io 4.8.4 with socket.io-msgpack-parser 3.0.2 (notepack.io 2.2.0) as the server, socket.io-client
#            4.8.4 and python-socketio 5.18.1 (python-engineio 4.15.1, msgpack 1.2.4) as clients
# Surprise:  A Date that a JavaScript server sends by MessagePack is no time in Python, though MessagePack has a type
#            for times.
#
# python-socketio has `serializer="msgpack"` to go with the parser of the JavaScript library, and most values pass.
# MessagePack has had a type for times since 2017, extension -1, which Python's msgpack reads. The JavaScript parser
# comes with an older library, which writes a Date as extension 0, a type of its own, and `undefined` as extension 0 as
# well. Python's handler gets an ExtType with bytes for both. A field that is undefined is missing over JSON. Over
# MessagePack it is there, and it is true.
#
# One would expect that a format that is chosen for its types keeps a time at least as well as JSON does, or raises an
# error. `toISOString()` before the emit helps.
#
# Output seen:
#   json, to JavaScript: string, the field dueAt is missing
#   json, to Python: str, the field dueAt is missing
#   msgpack, to JavaScript: Date, the field dueAt is undefined
#   msgpack, to Python: ExtType(0, 8 bytes), the field dueAt is ExtType(0, 1 byte)
set -euo pipefail

folder=$(mktemp -d)
server=
trap 'if [[ $server ]]; then kill "$server" || true; fi; rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >npm.log
npm install --silent --no-fund --no-audit \
    socket.io@4.8.4 socket.io-client@4.8.4 socket.io-msgpack-parser@3.0.2 notepack.io@2.2.0
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    'python-socketio[client]==5.18.1' python-engineio==4.15.1 msgpack==1.2.4

cat >server.mjs <<'JS'
import { createServer } from "node:http";
import { Server } from "socket.io";
import msgpack from "socket.io-msgpack-parser";

const http = createServer();
const server = new Server(http, process.argv[2] === "msgpack" ? { parser: msgpack } : {});
server.on("connection", (socket) => socket.emit("assigned", new Date(), { dueAt: undefined }));
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
JS

cat >client.mjs <<'JS'
import { io } from "socket.io-client";
import msgpack from "socket.io-msgpack-parser";

const [url, format] = process.argv.slice(2);
const socket = io(url, { transports: ["websocket"], ...(format === "msgpack" ? { parser: msgpack } : {}) });
socket.on("assigned", (time, rest) => {
  const type = time instanceof Date ? "Date" : typeof time;
  const field = "dueAt" in rest ? rest.dueAt : "missing";
  console.log(`${format}, to JavaScript: ${type}, the field dueAt is ${field}`);
  socket.close();
});
JS

cat >client.py <<'PY'
import sys
import threading

import msgpack
import socketio

url, kind = sys.argv[1:]
client = socketio.Client(serializer="msgpack" if kind == "msgpack" else "default")
done = threading.Event()


def shown(value):
    if isinstance(value, msgpack.ExtType):
        size = len(value.data)
        return f"ExtType({value.code}, {size} byte{'s' * (size > 1)})"
    return value if value == "missing" else type(value).__name__


@client.on("assigned")
def take(time, rest):
    print(f"{kind}, to Python: {shown(time)}, the field dueAt is {shown(rest.get('dueAt', 'missing'))}")
    done.set()


client.connect(url, transports=["websocket"])
assert done.wait(10)
client.disconnect()
PY

for format in json msgpack; do
    coproc node server.mjs "$format"
    server=$COPROC_PID
    read -r port <&"${COPROC[0]}"
    timeout 30 node client.mjs "http://127.0.0.1:$port" "$format"
    timeout 30 venv/bin/python client.py "http://127.0.0.1:$port" "$format"
    kill "$server"
    wait "$server" || true
    server=
done >seen
cat seen
diff seen - <<'SEEN'
json, to JavaScript: string, the field dueAt is missing
json, to Python: str, the field dueAt is missing
msgpack, to JavaScript: Date, the field dueAt is undefined
msgpack, to Python: ExtType(0, 8 bytes), the field dueAt is ExtType(0, 1 byte)
SEEN
