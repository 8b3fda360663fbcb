#!/usr/bin/env bash
# Software:  socket.io 4.8.4 with connectionStateRecovery (socket.io-adapter 2.5.9), socket.io-client 4.8.4
# Surprise:  After a failed recovery, the next one fails as well, unless an event came in between.
#
# A server with connection state recovery gives each client a pid, and appends an offset to each event. A client that
# comes back sends the pid and the last offset. If the server cannot recover the client, for example because it was
# restarted, it gives the client a new pid. The client then forgets the old pid, but it keeps the old offset. If the
# connection breaks again before an event has brought a new offset, the client sends the new pid with the old offset.
# The server knows the pid, but not the offset, and recovers nothing. What was sent meanwhile is lost, although the
# break was short.
#
# One would expect that a new pid starts a new session, from which a client that missed one event gets this event.
#
# Output seen (the three values of "recovered" are those of the first connect, of the one after the restart of the
# server, and of the one after the short break):
#   event in between: recovered [false,false,true] news [1,"between",2]
#   no event in between: recovered [false,false,false] news [1]
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

let socket;

async function until(condition) {
  while (!condition()) await sleep(10);
}

async function serve(port) {
  const http = createServer();
  const server = new Server(http, { connectionStateRecovery: {} });
  server.on("connection", (connected) => (socket = connected));
  await new Promise((listening) => http.listen(port, "127.0.0.1", listening));
  return server;
}

async function attempt(between) {
  let server = await serve(0);
  const { port } = server.httpServer.address();
  const client = io(`http://127.0.0.1:${port}`, {
    transports: ["websocket"],
    reconnectionDelay: 100,
    reconnectionDelayMax: 100,
  });
  const news = [];
  const recovered = [];
  client.on("connect", () => recovered.push(client.recovered));
  client.on("news", (item) => news.push(item));

  await until(() => recovered.length === 1);
  socket.emit("news", 1);
  await until(() => news.length === 1);
  await server.close();
  server = await serve(port);
  await until(() => recovered.length === 2);
  if (between) {
    socket.emit("news", "between");
    await until(() => news.includes("between"));
  }
  socket.conn.close();
  await until(() => !client.connected);
  server.emit("news", 2);
  await until(() => recovered.length === 3);
  await sleep(300); // what is recovered comes with the answer to the CONNECT
  const what = between ? "event" : "no event";
  console.log(`${what} in between: recovered ${JSON.stringify(recovered)} news ${JSON.stringify(news)}`);
  client.close();
  await server.close();
}

await attempt(true);
await attempt(false);
JS

timeout 60 node try.mjs | tee seen
diff seen - <<'SEEN'
event in between: recovered [false,false,true] news [1,"between",2]
no event in between: recovered [false,false,false] news [1]
SEEN
