// The server that the team has had so far: it keeps everything in memory, and forgets it when it ends.

import { createServer } from "node:http";
import { json } from "node:stream/consumers";

import { jwtVerify } from "jose";
import { Server } from "socket.io";

const { JWT_SECRET, PORT = "4000" } = process.env;
const secret = new TextEncoder().encode(JWT_SECRET);
const inboxes = new Map(); // by user: what is unread, by number
let last = 0;

const http = createServer(async (request, response) => {
  const { userId, title } = await json(request);
  const notification = { id: ++last, title };
  inbox(userId).set(notification.id, notification);
  io.to(`${userId}`).emit("notification:new", notification);
  tellCount(userId);
  response.writeHead(201).end();
});
const io = new Server(http);

function inbox(userId) {
  if (!inboxes.has(userId)) inboxes.set(userId, new Map());
  return inboxes.get(userId);
}

function tellCount(userId) {
  io.to(`${userId}`).emit("notification:unread-count", { count: inbox(userId).size });
}

io.use((socket, next) => {
  jwtVerify(socket.handshake.auth.token, secret).then(
    ({ payload }) => {
      socket.data.userId = payload.userId;
      next();
    },
    () => next(new Error("Unauthorized")),
  );
});

io.on("connection", (socket) => {
  const { userId } = socket.data;
  socket.join(`${userId}`);
  tellCount(userId);
  socket.on("notification:read", ({ notificationId }, answer) => {
    inbox(userId).delete(notificationId);
    answer?.({ ok: true });
    tellCount(userId);
  });
});

http.listen(PORT, "127.0.0.1", () => console.log(`http://127.0.0.1:${PORT}`));
