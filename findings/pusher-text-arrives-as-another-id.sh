#!/usr/bin/env bash
# Software:  pusher 5.3.4 (the library of the backend), pusher-js 8.6.0 (the client), ws 8.23.0
# Surprise:  An id that the backend sends as text arrives as a number, and as the number of something else.
#
# The data of a Pusher event is a text. The backend's library makes JSON of what it is given, unless this is a text
# already: it sends a text as it is. The client parses each text that is JSON, and hands on what is not JSON as it is. A
# text of digits is JSON. So large ids, which are made texts in order that JavaScript does not round them, are rounded,
# and the texts "true", "null" and "1e3" are no texts any more. An ordinary text arrives as it was, so tests with words
# show nothing. A text inside of an object is safe.
#
# One would expect that a text arrives as a text between two libraries of one maker.
#
# The script has a small service between the two, which passes the data on without change.
#
# Output seen:
#   sent "DJ-2026-0005" got "DJ-2026-0005"
#   sent "1234567890123456789" got 1234567890123456800
#   sent "1e3" got 1000
#   sent "null" got null
#   sent {"id":"1234567890123456789"} got {"id":"1234567890123456789"}
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >npm.log
npm install --silent --no-fund --no-audit pusher@5.3.4 pusher-js@8.6.0 ws@8.23.0

cat >try.mjs <<'JS'
import { createServer } from "node:http";
import { json } from "node:stream/consumers";
import Backend from "pusher";
import Client from "pusher-js";
import { WebSocketServer } from "ws";

const subscribers = new Set();
const http = createServer(async (request, response) => {
  const { name, channels, data } = await json(request);
  for (const socket of subscribers)
    for (const channel of channels) socket.send(JSON.stringify({ event: name, channel, data }));
  response.end("{}");
});
new WebSocketServer({ server: http }).on("connection", (socket) => {
  const hello = JSON.stringify({ socket_id: "1.1", activity_timeout: 120 });
  socket.send(JSON.stringify({ event: "pusher:connection_established", data: hello }));
  socket.on("message", (message) => {
    const { event, data } = JSON.parse(message);
    if (event !== "pusher:subscribe") return;
    subscribers.add(socket);
    const done = "pusher_internal:subscription_succeeded";
    socket.send(JSON.stringify({ event: done, channel: data.channel, data: "{}" }));
  });
});
await new Promise((listening) => http.listen(0, "127.0.0.1", listening));
const { port } = http.address();

const backend = new Backend({ appId: "1", key: "key", secret: "secret", host: "127.0.0.1", port, useTLS: false });
const client = new (Client.Pusher ?? Client)("key", {
  cluster: "none",
  wsHost: "127.0.0.1",
  wsPort: port,
  forceTLS: false,
  enabledTransports: ["ws"],
});
const channel = client.subscribe("mali");
await new Promise((subscribed) => channel.bind("pusher:subscription_succeeded", subscribed));
for (const sent of ["DJ-2026-0005", "1234567890123456789", "1e3", "null", { id: "1234567890123456789" }]) {
  const got = new Promise((arrived) => channel.bind("assigned", arrived));
  await backend.trigger("mali", "assigned", sent);
  console.log("sent", JSON.stringify(sent), "got", JSON.stringify(await got));
  channel.unbind("assigned");
}
process.exit();
JS

timeout 60 node try.mjs | tee seen
diff seen - <<'SEEN'
sent "DJ-2026-0005" got "DJ-2026-0005"
sent "1234567890123456789" got 1234567890123456800
sent "1e3" got 1000
sent "null" got null
sent {"id":"1234567890123456789"} got {"id":"1234567890123456789"}
SEEN
