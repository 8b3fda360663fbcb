#!/usr/bin/env bash
# Software:  socket.io 4.8.4 as the server, socket.io-client 4.8.4
# Surprise:  When the connection ends, emitWithAck is rejected in the client, and stays pending for ever in the server.
#
# Both ends have `socket.emitWithAck`. If the connection ends before the answer has come, the client rejects the promise
# (since 4.7.5). The server does nothing: the promise stays pending as long as the process lives, and so does all that
# the waiting function holds. A server that shows something to a person, waits for "seen" and then goes on never goes on
# if the person closes the page. In the server, only `socket.timeout(...)` ends the wait.
#
# One would expect that the same method ends in the same way at both ends.
#
# Output seen (two seconds after the connection has ended, on both sides):
#   asked by the client: rejected (socket has been disconnected)
#   asked by the server: pending
#   asked by the server with a timeout of 1 s: rejected (operation has timed out)
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >npm.log
npm install --silent --no-fund --no-audit socket.io@4.8.4 socket.io-client@4.8.4

cat >try.mjs <<'JS'
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { Server } from "socket.io";
import { io } from "socket.io-client";

const http = createServer();
const server = new Server(http);
await new Promise((listening) => http.listen(0, "127.0.0.1", listening));
const client = io(`http://127.0.0.1:${http.address().port}`);
const socket = await new Promise((connected) => server.on("connection", connected));

// Nobody answers "seen?" before the connection ends.
const asked = {
  "by the client": client.emitWithAck("seen?"),
  "by the server": socket.emitWithAck("seen?"),
  "by the server with a timeout of 1 s": socket.timeout(1000).emitWithAck("seen?"),
};
const states = Object.entries(asked).map(([name, promise]) => {
  const state = { name, is: "pending" };
  promise.then(
    () => (state.is = "resolved"),
    (error) => (state.is = `rejected (${error.message})`),
  );
  return state;
});
const ended = [client, socket].map((side) => new Promise((disconnected) => side.on("disconnect", disconnected)));
await Promise.all([client, socket].map((side) => new Promise((arrived) => side.on("seen?", arrived))));
client.close();
await Promise.all(ended);
await sleep(2000);
for (const { name, is } of states) console.log(`asked ${name}: ${is}`);
process.exit();
JS

timeout 60 node try.mjs | tee seen
diff seen - <<'SEEN'
asked by the client: rejected (socket has been disconnected)
asked by the server: pending
asked by the server with a timeout of 1 s: rejected (operation has timed out)
SEEN
