// The reference implementation (npm socket.io) as a server: the driver is tested against it, so that a fault of the driver
// is not taken for one of djactors. Not used by any test of djactors itself.
//
// Usage: node reference_server.mjs [--port N] [--echo] [--recovery]
// Prints "listening on http://127.0.0.1:PORT" and serves until its stdin ends.
//
// Default: refuses `auth.token` "wrong"; emits "welcome" with the handshake's auth; answers what `serve` says below.
// --echo: what the public Engine.IO and Socket.IO protocol suites expect of the server under test, at /engine.io/ and
// /socket.io/.

import http from "node:http";
import { parseArgs } from "node:util";

import { Server as Engine } from "engine.io";
import { Server } from "socket.io";

const { values: options } = parseArgs({
  options: {
    port: { type: "string", default: "0" },
    echo: { type: "boolean", default: false },
    recovery: { type: "boolean", default: false },
  },
});

function serve(httpServer) {
  const io = new Server(httpServer, {
    maxHttpBufferSize: 1_000_000,
    ...(options.recovery && { connectionStateRecovery: {} }),
  });
  io.use((socket, next) => {
    if (socket.handshake.auth.token !== "wrong") {
      return next();
    }
    const refusal = new Error("Unauthorized");
    refusal.data = { code: "token_invalid" };
    return next(refusal);
  });
  io.on("connection", (socket) => {
    socket.emit("welcome", socket.handshake.auth);
    socket.on("answer", (...args) => args.pop()(...args));
    socket.on("say-back", (...args) => socket.emit("said", ...args));
    socket.on("tell-all", (...args) => io.emit("told", ...args));
    socket.on("drop-me", () => socket.conn.close());
    socket.on("send-me-away", () => socket.disconnect());
  });
}

function serveEcho(httpServer) {
  const settings = { pingInterval: 300, pingTimeout: 200, maxHttpBufferSize: 1_000_000, cors: { origin: "*" } };
  const engine = new Engine(settings);
  engine.attach(httpServer, { path: "/engine.io/" });
  engine.on("connection", (session) => {
    session.on("message", (data) => session.send(data));
  });

  const io = new Server(httpServer, { ...settings, connectTimeout: 1000 });
  const echo = (socket) => {
    socket.emit("auth", socket.handshake.auth);
    socket.on("message", (...args) => socket.emit("message-back", ...args));
    socket.on("message-with-ack", (...args) => args.pop()(...args));
  };
  io.on("connection", echo);
  io.of("/custom").on("connection", echo);
}

const httpServer = http.createServer((request, response) => response.writeHead(404).end());
(options.echo ? serveEcho : serve)(httpServer);
httpServer.listen(Number(options.port), "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${httpServer.address().port}`);
});
process.stdin.on("end", () => process.exit(0)).resume();
