#!/usr/bin/env bash
# Software:  socket.io 4.8.4 (engine.io 6.6.13) as the server, socket.io-client 4.8.4 (engine.io-client 6.6.8)
# Surprise:  Of several volatile events in one loop only the first arrives, even if the connection is idle and fast.
#
# A volatile event is dropped if the connection is not ready for it. A reader takes this for a client that is slow or
# away. But a connection is not ready either from one write until a later turn of the event loop. So a loop that emits
# five volatile events sends one of them, each time, from the server as well as from the client, and also if the loop
# awaits something that is there already. A volatile event directly behind an ordinary event never arrives.
#
# One would expect that an idle connection takes a handful of small events. Put what belongs together into one event.
#
# Output seen:
#   five in a loop, server to client: 1
#   five in a loop, client to server: 1
#   five in a loop with "await null", server to client: 1
#   one after an ordinary event, server to client: none
#   five with 100 ms between them, server to client: 1 2 3 4 5
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >npm.log
npm install --silent --no-fund --no-audit socket.io@4.8.4 engine.io@6.6.13 socket.io-client@4.8.4 engine.io-client@6.6.8

cat >try.mjs <<'JS'
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { Server } from "socket.io";
import { io } from "socket.io-client";

const http = createServer();
const server = new Server(http);
await new Promise((listening) => http.listen(0, "127.0.0.1", listening));
const client = io(`http://127.0.0.1:${http.address().port}`, { transports: ["websocket"] });
const socket = await new Promise((connected) => server.on("connection", connected));
const arrived = [];
for (const side of [client, socket]) side.on("progress", (number) => arrived.push(number));

async function attempt(name, emit) {
  await sleep(300); // the connection is idle
  await emit();
  await sleep(300);
  console.log(`${name}: ${arrived.splice(0).join(" ") || "none"}`);
}

const numbers = [1, 2, 3, 4, 5];
await attempt("five in a loop, server to client", () => {
  for (const number of numbers) socket.volatile.emit("progress", number);
});
await attempt("five in a loop, client to server", () => {
  for (const number of numbers) client.volatile.emit("progress", number);
});
await attempt('five in a loop with "await null", server to client', async () => {
  for (const number of numbers) {
    socket.volatile.emit("progress", number);
    await null;
  }
});
await attempt("one after an ordinary event, server to client", () => {
  socket.emit("ordinary");
  socket.volatile.emit("progress", 1);
});
await attempt("five with 100 ms between them, server to client", async () => {
  for (const number of numbers) {
    socket.volatile.emit("progress", number);
    await sleep(100);
  }
});
process.exit();
JS

timeout 60 node try.mjs | tee seen
diff seen - <<'SEEN'
five in a loop, server to client: 1
five in a loop, client to server: 1
five in a loop with "await null", server to client: 1
one after an ordinary event, server to client: none
five with 100 ms between them, server to client: 1 2 3 4 5
SEEN
