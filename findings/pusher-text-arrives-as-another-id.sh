#!/usr/bin/env bash
# Software:  pusher 5.3.4 (the library of the backend), pusher-js 8.6.0 (the client), ws 8.23.0
# Surprise:  An id that the backend sends as text arrives as a number, and this number is another id.
#
# The data of a Pusher event is a text. The backend's library turns data into JSON, except for a text, which it sends as
# it is. The client parses every text that happens to be JSON, and hands on the others as they are. A text of digits is
# JSON. So large ids, which are texts because JavaScript would round them, are rounded, and the texts "1e3" and "null"
# are texts no more. A test with words does not show this, because they arrive as they were. A text inside of an object
# is safe.
#
# One would expect that two libraries of one maker hand on a text as a text.
#
# The service between the two libraries is a small one in this script, which passes the data on without a change.
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
