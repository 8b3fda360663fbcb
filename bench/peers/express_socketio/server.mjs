// The seed's stack as its document describes it: Express takes domain events, PostgreSQL keeps notifications, Socket.IO tells
// the user's room. Every post is one transaction; nobody is answered or told before its COMMIT.
//
// Environment: JWT_SECRET, and PGHOST, PGUSER, PGDATABASE of a database that has schema.sql.

import http from "node:http";

import express from "express";
import jwt from "jsonwebtoken";
import pg from "pg";
import { Server } from "socket.io";

pg.types.setTypeParser(pg.types.builtins.INT8, Number);

const { JWT_SECRET } = process.env;
const pool = new pg.Pool({ max: 20 });

const app = express();
app.disable("x-powered-by");
app.disable("etag");
app.use(express.json({ limit: "2mb" }));
const server = http.createServer(app);
const io = new Server(server);

// --- Sockets -------------------------------------------------------------------------------------------------------------

io.use((socket, next) => {
  try {
    const { userId, tenantId, role } = jwt.verify(socket.handshake.auth.token, JWT_SECRET, { algorithms: ["HS256"] });
    if (socket.handshake.auth.tenantId !== undefined && socket.handshake.auth.tenantId !== tenantId) {
      throw new Error("another tenant");
    }
    Object.assign(socket.data, { userId, tenantId, role });
    next();
  } catch {
    next(new Error("Unauthorized"));
  }
});

io.on("connection", async (socket) => {
  const { userId, tenantId } = socket.data;
  socket.join([`tenant_${tenantId}`, `tenant_${tenantId}:user_${userId}`]);
  const { rows } = await pool.query({
    name: "unread",
    text: "SELECT unread_count FROM users WHERE id = $1 AND tenant_id = $2",
    values: [userId, tenantId],
  });
  socket.emit("notification:unread-count", { count: rows[0]?.unread_count ?? 0 });
});

// --- Notifications -------------------------------------------------------------------------------------------------------

async function inTransaction(work) {
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    const result = await work(client);
    await client.query("COMMIT");
    return result;
  } catch (error) {
    await client.query("ROLLBACK");
    throw error;
  } finally {
    client.release();
  }
}

async function insertNotification(client, { tenantId, userId, type, priority, title, message, data }) {
  const { rows } = await client.query({
    name: "insert-notification",
    text: `INSERT INTO notifications (tenant_id, user_id, type, priority, title, message, data)
           VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id, created_at`,
    values: [tenantId, userId, type, priority, title, message, data],
  });
  const counted = await client.query({
    name: "count-unread",
    text: "UPDATE users SET unread_count = unread_count + 1 WHERE id = $1 AND tenant_id = $2 RETURNING unread_count",
    values: [userId, tenantId],
  });
  if (counted.rowCount !== 1) {
    throw new Error(`no user ${userId} in tenant ${tenantId}`);
  }
  const [{ id, created_at: createdAt }] = rows;
  return {
    tenantId,
    userId,
    count: counted.rows[0].unread_count,
    body: { id, type, priority, title, message, data, createdAt },
  };
}

// PostgreSQL lets a user's row go before it answers the COMMIT, so the answers to two posts for one user may come the other
// way round. Counts only rise here, so that the lower one is the older one, and is not told after the newer.
const told = new Map();

function deliver({ tenantId, userId, count, body, assigned }) {
  if (assigned) {
    io.to(`tenant_${tenantId}`).emit("job:assigned", assigned);
  }
  const room = `tenant_${tenantId}:user_${userId}`;
  io.to(room).emit("notification:new", body);
  if (count > (told.get(room) ?? 0)) {
    told.set(room, count);
    io.to(room).emit("notification:unread-count", { count });
  }
}

// --- Domain events: each handler runs in the transaction and returns what is to be delivered after it ------------------------

const handlers = {
  async "notification.requested"(client, event) {
    const { tenantId, userId, notificationType: type, priority, title, message, data } = event;
    if (!Number.isInteger(userId) || typeof title !== "string" || typeof type !== "string") {
      throw new Error("userId, notificationType and title are required");
    }
    return insertNotification(client, { tenantId, userId, type, priority, title, message, data });
  },

  async "job.assigned"(client, { tenantId, jobId, assigneeId }) {
    const { rows } = await client.query({
      name: "assign-job",
      text: `UPDATE jobs SET assignee_id = $3, status = 'assigned' FROM users
             WHERE jobs.tenant_id = $1 AND jobs.id = $2 AND users.id = $3 AND users.tenant_id = $1
             RETURNING jobs.title, users.name`,
      values: [tenantId, jobId, assigneeId],
    });
    if (rows.length !== 1) {
      throw new Error(`no job ${jobId}, or no user ${assigneeId}`);
    }
    const [{ title, name }] = rows;
    const notice = await insertNotification(client, {
      tenantId,
      userId: assigneeId,
      type: "job_assigned",
      priority: "HIGH",
      title: `Job ${jobId} assigned to you`,
      message: title,
      data: { jobId, djId: null },
    });
    return { ...notice, assigned: { jobId, djId: null, assigneeId, assigneeName: name } };
  },

  async "user.upserted"(client, { tenantId, userId, name, role }) {
    await client.query("INSERT INTO tenants (id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING", [tenantId, "Tenant"]);
    await client.query(
      `INSERT INTO users (id, tenant_id, name, role) VALUES ($1, $2, $3, $4)
       ON CONFLICT (id) DO UPDATE SET name = excluded.name, role = excluded.role`,
      [userId, tenantId, name, role],
    );
  },

  async "job.created"(client, { tenantId, jobId, title, requesterId }) {
    await client.query("INSERT INTO jobs (tenant_id, id, title, requester_id) VALUES ($1, $2, $3, $4)", [
      tenantId,
      jobId,
      title,
      requesterId,
    ]);
  },
};

function apply(client, event) {
  const handler = Object.hasOwn(handlers, event?.type) ? handlers[event.type] : undefined;
  if (handler === undefined || !Number.isInteger(event.tenantId)) {
    throw new Error("unknown type, or no tenantId");
  }
  return handler(client, event);
}

const answer = (notice) => ({ notifications: notice ? [{ id: notice.body.id, userId: notice.userId }] : [] });

app.use("/api", (request, response, next) => {
  try {
    const claims = jwt.verify(request.headers.authorization?.slice(7), JWT_SECRET, { algorithms: ["HS256"] });
    if (claims.role !== "service") {
      throw new Error("not a service");
    }
    next();
  } catch {
    response.status(401).json({ error: { code: "unauthorized", message: "Unauthorized" } });
  }
});

app.post("/api/events", async (request, response) => {
  const notice = await inTransaction((client) => apply(client, request.body));
  if (notice) {
    deliver(notice);
  }
  response.status(201).json(answer(notice));
});

app.post("/api/events/batch", async (request, response) => {
  const notices = await inTransaction(async (client) => {
    const done = [];
    // In the order of users, so that two batches cannot wait for each other.
    const users = request.body.map((event) => event.assigneeId ?? event.userId).filter((id) => id !== undefined);
    await client.query("SELECT 1 FROM users WHERE id = ANY($1) ORDER BY id FOR UPDATE", [users]);
    for (const event of request.body) {
      done.push(await apply(client, event));
    }
    return done;
  });
  notices.filter(Boolean).forEach(deliver);
  response.json({ results: notices.map(answer) });
});

app.use((error, request, response, next) => {
  response.status(400).json({ error: { code: "bad_request", message: error.message } });
});

server.listen(0, "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
process.on("SIGTERM", () => process.exit(0));
