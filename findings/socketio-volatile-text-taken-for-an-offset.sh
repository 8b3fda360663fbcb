#!/usr/bin/env bash
# Software:  socket.io 4.8.4 with connectionStateRecovery (socket.io-adapter 2.5.9), socket.io-client 4.8.4
# Surprise:  A volatile event whose last argument is a text switches recovery off until the next ordinary event.
#
# With connection state recovery, the server appends an offset to each event as one more argument, and the client
# remembers it. The server appends no offset to volatile events, because it does not store them. The client does not
# know that an event was volatile: it takes the last argument of every event for an offset if the argument is a text.
# So it remembers the application's own text. When the connection breaks, it sends this text to the server, which does
# not know it and does not recover the client. What was sent meanwhile is lost.
#
# One would expect that a volatile event may itself be lost, but that it does no harm to others. It does none if its
# last argument is an object.
#
# Output seen:
#   volatile {"user":"mali"} recovered true news [1,2]
#   volatile "mali" recovered false news [1]
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

async function attempt(argument) {
  const http = createServer();
  const server = new Server(http, { connectionStateRecovery: {} });
  let socket;
  server.on("connection", (connected) => (socket = connected));
  await new Promise((listening) => http.listen(0, "127.0.0.1", listening));
  const client = io(`http://127.0.0.1:${http.address().port}`, { reconnectionDelay: 100, reconnectionDelayMax: 100 });
  const news = [];
  let typing = 0;
  let connects = 0;
  client.on("connect", () => connects++);
  client.on("news", (number) => news.push(number));
  client.on("typing", () => typing++);

  await until(() => socket && client.connected);
  socket.emit("news", 1);
  await until(() => news.length === 1);
  while (!typing) {
    socket.volatile.emit("typing", argument); // may be dropped, as volatile events are
    await sleep(50);
  }
  socket.conn.close();
  await until(() => !client.connected);
  server.emit("news", 2);
  await until(() => connects === 2);
  await sleep(300); // what is recovered comes with the answer to the CONNECT
  console.log(`volatile ${JSON.stringify(argument)} recovered ${client.recovered} news ${JSON.stringify(news)}`);
  client.close();
  server.close();
}

await attempt({ user: "mali" });
await attempt("mali");
JS

timeout 60 node try.mjs | tee seen
diff seen - <<'SEEN'
volatile {"user":"mali"} recovered true news [1,2]
volatile "mali" recovered false news [1]
SEEN
