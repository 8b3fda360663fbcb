#!/usr/bin/env bash
# Software:  socket.io 4.8.4 (engine.io 6.6.13) as the server, socket.io-client 4.8.4 (engine.io-client 6.6.8)
# Surprise:  Of volatile events that are emitted one right after the other, only the first arrives, on an idle connection
#            over loopback.
#
# A volatile event is dropped if the connection is not ready for it, which one reads as: if the client is slow or away.
# But a transport is not ready either between a write and the turn of the event loop in which the write is done. So a loop
# that emits five volatile events sends one, on every connection and every time, from the client to the server as well,
# and also if the loop awaits something that is there already. A volatile event right behind an ordinary one never
# arrives. Over HTTP polling the time is longer: until the client has fetched the answer and asked anew.
#
# One would expect that an idle connection takes a handful of small events, as UDP does, with which the documentation
# compares them. Put what belongs together into one event, or wait between them.
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
