// The stock JavaScript client (npm socket.io-client, unmodified) as a child process, driven by JSON lines.
//
// One command a line on stdin, one occurrence a line on stdout; `driver.py` speaks the other end. Every line names its
// `socket`, so one process carries any number of independent clients. Bytes travel as {"$bytes": "<base64>"}.
//
// Commands:    open {url, options}  connect  disconnect  emit {name, args, ack?, timeout?}  set_auth {auth}
//              kill_transport {how: "close" | "reset"}  stall  unstall  state  exit
// Occurrences: connect {id, recovered, transport}  connect_error {message, data}  disconnect {reason}
//              reconnect_attempt {attempt}  event {name, args}  upgrade {to}  ack {id, args | error}  state {...}
//              refused {message}

import http from "node:http";
import https from "node:https";
import readline from "node:readline";

import { io } from "socket.io-client";

const clients = new Map();

function report(socket, what, fields = {}) {
  process.stdout.write(JSON.stringify({ socket, what, ...fields }, toLine) + "\n");
}

function toLine(key, value) {
  // A Buffer arrives here already as the object that its toJSON made of it.
  if (value?.type === "Buffer" && Array.isArray(value.data)) {
    return { $bytes: Buffer.from(value.data).toString("base64") };
  }
  if (value instanceof ArrayBuffer) {
    return { $bytes: Buffer.from(value).toString("base64") };
  }
  return value;
}

function fromLine(key, value) {
  return typeof value?.$bytes === "string" ? Buffer.from(value.$bytes, "base64") : value;
}

// Remembers the TCP connections of one client, so that a fault can be done to them beneath the library. An upgraded
// connection leaves Node's own lists. Without keep-alive, for that is how the library polls when it is given no agent.
const remembering = (Agent) =>
  class extends Agent {
    live = new Set();

    createConnection(options, callback) {
      const connection = super.createConnection(options, callback);
      this.live.add(connection);
      connection.once("close", () => this.live.delete(connection));
      return connection;
    }
  };

const RememberingAgents = { "http:": remembering(http.Agent), "https:": remembering(https.Agent) };

class Client {
  constructor(name, url, { localAddress, ...options }) {
    this.agent = new RememberingAgents[new URL(url).protocol]({ keepAlive: false, localAddress });
    this.socket = io(url, { forceNew: true, agent: this.agent, ...options });
    const { socket } = this;
    socket.on("connect", () => {
      const { id, recovered = false } = socket;
      report(name, "connect", { id, recovered, transport: socket.io.engine.transport.name });
    });
    socket.on("connect_error", ({ message, data }) => report(name, "connect_error", { message, data: data ?? null }));
    socket.on("disconnect", (reason) => report(name, "disconnect", { reason }));
    socket.onAny((event, ...args) => report(name, "event", { name: event, args }));
    socket.io.on("open", () => {
      socket.io.engine.on("upgrade", (transport) => report(name, "upgrade", { to: transport.name }));
    });
    socket.io.on("reconnect_attempt", (attempt) => report(name, "reconnect_attempt", { attempt }));
    this.name = name;
  }

  emit({ name, args, ack, timeout }) {
    if (ack == null) {
      this.socket.emit(name, ...args);
      return;
    }
    this.socket.timeout(timeout).emit(name, ...args, (error, ...answer) => {
      report(this.name, "ack", error ? { id: ack, error: error.message } : { id: ack, args: answer });
    });
  }

  killTransport(how) {
    if (how === "close") {
      this.socket.io.engine.close();
    } else {
      // Node has no RST for a TLS connection, which is just dropped.
      this.agent.live.forEach((it) => (it.encrypted ? it.destroy() : it.resetAndDestroy()));
    }
  }

  // Beneath the stream: a paused stream is resumed by whoever else listens to it.
  stall() {
    this.agent.live.forEach((connection) => connection._handle?.readStop());
  }

  unstall() {
    this.agent.live.forEach((connection) => connection._handle?.readStart());
  }

  state() {
    const { socket } = this;
    const { connected, recovered = false, active, id } = socket;
    const transport = socket.io.engine?.transport?.name ?? null;
    report(this.name, "state", { id: id ?? null, connected, recovered, active, transport });
  }
}

function obey(command) {
  if (command.do === "exit") {
    process.exit(0);
  }
  if (command.do === "open") {
    clients.set(command.socket, new Client(command.socket, command.url, command.options ?? {}));
    return;
  }
  const client = clients.get(command.socket);
  switch (client && command.do) {
    case "connect":
      client.socket.connect();
      break;
    case "disconnect":
      client.socket.disconnect();
      break;
    case "emit":
      client.emit(command);
      break;
    case "set_auth":
      client.socket.auth = command.auth;
      break;
    case "kill_transport":
      client.killTransport(command.how);
      break;
    case "stall":
      client.stall();
      break;
    case "unstall":
      client.unstall();
      break;
    case "state":
      client.state();
      break;
    default:
      report(command.socket, "refused", { message: `cannot do ${JSON.stringify(command)}` });
  }
}

const commands = readline.createInterface({ input: process.stdin });
commands.on("line", (line) => obey(JSON.parse(line, fromLine)));
commands.on("close", () => process.exit(0));
