// A program of a team that has used Socket.IO so far: node client.mjs ADDRESS TOKEN. Only the address changes.

import { io } from "socket.io-client";

const [address, token] = process.argv.slice(2);
const socket = io(address, { auth: { token } });

socket.on("connect", () => console.log("connected"));
socket.on("connect_error", (error) => console.log("refused:", error.message));
socket.on("notification:unread-count", ({ count }) => console.log("unread:", count));
socket.on("notification:new", (notification) => {
  console.log(notification.title);
  socket.emit("notification:read", { notificationId: notification.id }, ({ ok }) => console.log("read:", ok));
});
