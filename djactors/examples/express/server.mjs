// An Express application that tells djactors what happened, and signs the tokens of the people at its page.

import express from "express";
import { SignJWT } from "jose";

const { DJACTORS_URL, JWT_SECRET, PORT = "8080" } = process.env;
const TENANT = 1;
const secret = new TextEncoder().encode(JWT_SECRET);
const sign = (claims) =>
  new SignJWT({ tenantId: TENANT, ...claims }).setProtectedHeader({ alg: "HS256" }).setIssuedAt().setExpirationTime("15m").sign(secret);

const app = express();
app.use(express.json(), express.static("public"));
app.use("/socket.io-client", express.static("node_modules/socket.io-client/dist"));

// The page asks before each connect. A real application takes the user from its session.
app.get("/token", async (request, response) => {
  response.json({ url: DJACTORS_URL, token: await sign({ role: "user", userId: 2, name: "Somchai" }) });
});

app.post("/orders/:number/ship", async (request, response) => {
  const { number } = request.params;
  const answer = await fetch(new URL("/api/events", DJACTORS_URL), {
    method: "POST",
    headers: { Authorization: `Bearer ${await sign({ role: "service" })}`, "Content-Type": "application/json" },
    // Whoever gets an error may ship the order again: the event's id makes sure that nobody is notified twice.
    body: JSON.stringify({
      type: "notification.requested",
      id: `order-${number}-shipped`,
      tenantId: TENANT,
      userId: request.body?.customer,
      notificationType: "order_shipped",
      priority: "MEDIUM",
      title: `Order ${number} is on its way`,
      data: { order: number },
    }),
    signal: AbortSignal.timeout(10_000),
  });
  // With 429 and 503 the server says in how many seconds it makes sense to try again.
  const retryAfter = answer.headers.get("Retry-After");
  if (retryAfter) response.set("Retry-After", retryAfter);
  response.status(answer.status).type(answer.headers.get("Content-Type") ?? "text").send(await answer.text());
});

app.listen(PORT, "127.0.0.1", () => console.log(`http://127.0.0.1:${PORT}`));
