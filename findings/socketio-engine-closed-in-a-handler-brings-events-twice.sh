#!/usr/bin/env bash
# Software:  socket.io 4.8.4 as the server, with connectionStateRecovery, and socket.io-client 4.8.4 in Node 20
# Surprise:  A client that closes its engine within a handler is recovered, and gets what had arrived already once more.
#
# The server sends four numbers at once. The handler of the second one closes the engine, as the documentation of connection
# state recovery does to try a reconnect. The client has the other two already, and keeps them for the next connection. But
# it asks to be recovered from behind the second one, so the server sends the other two again. The application gets both
# pairs, while `recovered` says that nothing was lost and one would expect that nothing comes twice.
#
# The same close from a timer, a moment later, brings nothing twice.
#
# Output seen:
#   polling, in the handler: 0 1 2 3 2 3, recovered true
#   polling, from a timer: 0 1 2 3, recovered true
#   websocket, in the handler: 0 1 2 3 2 3, recovered true
#   websocket, from a timer: 0 1 2 3, recovered true
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >npm.log
npm install --silent --no-fund --no-audit socket.io@4.8.4 socket.io-client@4.8.4

cat >twice.mjs <<'JS'
import { createServer } from "node:http";
import { Server } from "socket.io";
import { io } from "socket.io-client";

const http = createServer();
const server = new Server(http, { connectionStateRecovery: {} });
server.on("connection", (socket) => {
  socket.on("begin", () => {
    for (const number of [0, 1, 2, 3]) socket.emit("number", number);
  });
  // Emitted behind everything that is sent again.
  if (socket.recovered) socket.emit("end");
});
await new Promise((listening) => http.listen(0, "127.0.0.1", listening));

for (const transport of ["polling", "websocket"]) {
  for (const where of ["in the handler", "from a timer"]) {
    const seen = [];
    const options = { transports: [transport], forceNew: true, reconnectionDelay: 10 };
    const socket = io(`http://127.0.0.1:${http.address().port}`, options);
    const close = () => socket.io.engine.close();
    await new Promise((done) => {
      socket.once("connect", () => socket.emit("begin"));
      socket.on("number", (number) => {
        if (number === 1 && !seen.includes(1)) where === "in the handler" ? close() : setTimeout(close, 100);
        seen.push(number);
      });
      socket.on("end", done);
    });
    console.log(`${transport}, ${where}: ${seen.join(" ")}, recovered ${socket.recovered}`);
    socket.disconnect();
  }
}
server.close();
JS

node twice.mjs | tee seen
diff - seen <<'EXPECTED'
polling, in the handler: 0 1 2 3 2 3, recovered true
polling, from a timer: 0 1 2 3, recovered true
websocket, in the handler: 0 1 2 3 2 3, recovered true
websocket, from a timer: 0 1 2 3, recovered true
EXPECTED
