#!/usr/bin/env bash
# Software:  socket.io 4.8.4 with connectionStateRecovery (socket.io-adapter 2.5.9), socket.io-client 4.8.4
# Surprise:  A client gets the events that it missed before it is told that it is connected again.
#
# When the server recovers a client, it sends the missed events first and the answer to the CONNECT after them. The
# client keeps what comes before this answer, and hands it to the handlers just before it emits "connect". So a page
# whose handler of "connect" empties its list throws away what was just recovered, and `socket.recovered` is true all
# the same. At a first connect the order is the opposite: what the server sends at once comes after "connect".
#
# One would expect that "connect" is the first event of a connection, as it is without recovery. A handler of "connect"
# has to look at `socket.recovered` before it throws anything away.
#
# Output seen (the events in the order of their handlers):
#   first connect: connect, news 1
#   recovered: news 2, connect
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >npm.log
npm install --silent --no-fund --no-audit socket.io@4.8.4 socket.io-adapter@2.5.9 socket.io-client@4.8.4

cat >try.mjs <<'JS'
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { Server } from "socket.io";
import { io } from "socket.io-client";

async function until(condition) {
  while (!condition()) await sleep(10);
}

const http = createServer();
const server = new Server(http, { connectionStateRecovery: {} });
let socket;
server.on("connection", (connected) => {
  socket = connected;
  if (!socket.recovered) socket.emit("news", 1);
});
await new Promise((listening) => http.listen(0, "127.0.0.1", listening));
const client = io(`http://127.0.0.1:${http.address().port}`, { reconnectionDelay: 100, reconnectionDelayMax: 100 });
const order = [];
client.on("connect", () => order.push("connect"));
client.on("news", (number) => order.push(`news ${number}`));

await until(() => order.length === 2);
console.log("first connect:", order.splice(0).join(", "));
socket.conn.close();
await until(() => !client.connected);
server.emit("news", 2);
await until(() => order.length === 2);
console.log(`${client.recovered ? "recovered" : "not recovered"}:`, order.join(", "));
process.exit();
JS

timeout 60 node try.mjs | tee seen
diff seen - <<'SEEN'
first connect: connect, news 1
recovered: news 2, connect
SEEN
