#!/usr/bin/env bash
# Software:  socket.io 4.8.4 as the server, socket.io-client 4.8.4 in Node 20 as the client
# Surprise:  `await socket.emitWithAck(…)` goes on after the events that the server sent behind the ack.
#
# The server tells of a change, acknowledges the command with a number, and then tells a newer number. Socket.IO keeps the
# order of what a server sends, so one would expect that a client which shows the number of the ack, and then the number of
# the event, ends with the newer one. It does with an ack that is taken in a callback. But several packets of one poll, or
# several frames that arrive together, are handled before any promise that the first of them resolves is heard of. Whoever
# awaits the ack goes on last, and shows the older number for good.
#
# Output seen:
#   polling, callback: ack 1, event 2
#   polling, awaited: event 2, ack 1
#   websocket, callback: ack 1, event 2
#   websocket, awaited: event 2, ack 1
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >npm.log
npm install --silent --no-fund --no-audit socket.io@4.8.4 socket.io-client@4.8.4

cat >order.mjs <<'JS'
import { createServer } from "node:http";
import { Server } from "socket.io";
import { io } from "socket.io-client";

const http = createServer();
const server = new Server(http);
server.on("connection", (socket) => {
  socket.on("command", (acknowledge) => {
    socket.emit("changed");
    acknowledge(1);
    socket.emit("state", 2);
  });
});
await new Promise((listening) => http.listen(0, "127.0.0.1", listening));

for (const transport of ["polling", "websocket"]) {
  for (const way of ["callback", "awaited"]) {
    const told = [];
    const socket = io(`http://127.0.0.1:${http.address().port}`, { transports: [transport], forceNew: true });
    const both = new Promise((done) => {
      const tell = (what) => told.push(what) === 2 && done();
      socket.on("state", (number) => tell(`event ${number}`));
      socket.on("connect", async () => {
        if (way === "callback") socket.emit("command", (number) => tell(`ack ${number}`));
        else tell(`ack ${await socket.emitWithAck("command")}`);
      });
    });
    await both;
    console.log(`${transport}, ${way}: ${told.join(", ")}`);
    socket.disconnect();
  }
}
server.close();
JS

node order.mjs | tee seen
diff - seen <<'EXPECTED'
polling, callback: ack 1, event 2
polling, awaited: event 2, ack 1
websocket, callback: ack 1, event 2
websocket, awaited: event 2, ack 1
EXPECTED
