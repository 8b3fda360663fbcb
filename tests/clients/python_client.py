"""The stock Python client (python-socketio, unmodified) as a child process, driven by JSON lines.

One command a line on stdin, one occurrence a line on stdout; `client.mjs` lists them, and takes the same. Differences:
the library starts a thread for each packet it receives, so events that were sent together may be reported in another
order, unless the option ``ordered`` has the reading thread take them itself; there is no ``stall``; ``kill_transport``
``reset`` ends TCP with FIN instead of RST; ``connect`` also has the ``since`` that was presented, if any; and
``connect_timeout`` (seconds) is an option, as the library's own second is too short for a busy machine.
"""

import base64
import json
import os
import queue
import socket as tcp
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import engineio
import requests
import socketio
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection

Fields = dict[str, Any]

CONNECT_SECONDS = 5.0
_output = threading.Lock()


def report(socket: str, what: str, **fields: Any) -> None:
    line = json.dumps({"socket": socket, "what": what, **fields}, default=to_line)
    with _output:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def to_line(value: Any) -> Any:
    return {"$bytes": base64.b64encode(value).decode()}


def from_line(value: Fields) -> Any:
    return base64.b64decode(value["$bytes"]) if value.keys() == {"$bytes"} else value


class RememberedConnections(HTTPAdapter):
    """Remembers the TCP connections of the polling transport, so that they can be cut beneath the library."""

    def __init__(self) -> None:
        self.live: list[tcp.socket] = []
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        live = self.live

        class Remembered(HTTPConnection):
            def connect(self) -> None:
                super().connect()
                live.append(self.sock)

        pool = self.poolmanager.pool_classes_by_scheme["http"]
        remembering = type("RememberingPool", (pool,), {"ConnectionCls": Remembered})
        self.poolmanager.pool_classes_by_scheme = {"http": remembering}


class OrderedEngine(engineio.Client):  # type: ignore[misc]
    """Takes each packet in the thread that read it: none overtakes another."""

    def _trigger_event(self, event: str, *arguments: Any, **options: Any) -> Any:
        if event == "message":
            options["run_async"] = False
        return super()._trigger_event(event, *arguments, **options)


class ReportingClient(socketio.Client):  # type: ignore[misc]
    """Tells of the upgrade, for which the library has no event: it happens inside `connect`."""

    upgraded: Callable[[str], None]
    connect_timeout = CONNECT_SECONDS

    def connect(self, *arguments: Any, **options: Any) -> None:
        # A reconnect gives no deadline of its own.
        options.setdefault("wait_timeout", self.connect_timeout)
        super().connect(*arguments, **options)
        self.upgraded(self.transport())


class OrderedClient(ReportingClient):
    def _engineio_client_class(self) -> type[OrderedEngine]:
        return OrderedEngine


class Client:
    """One socket: its commands are obeyed in order by a thread of its own, since most of them block."""

    def __init__(self, name: str, url: str, options: Fields) -> None:
        self.name = name
        self.url = url
        self.auth = options.pop("auth", None)
        self.path = options.pop("path", "socket.io").strip("/")
        self.transports = options.pop("transports", None)
        self.headers = options.pop("extraHeaders", {})
        self.connect_timeout = options.pop("connect_timeout", CONNECT_SECONDS)
        self.auto_connect = options.pop("autoConnect", True)
        kind = OrderedClient if options.pop("ordered", False) else ReportingClient
        self.presented: Fields = {}
        settings = {
            "reconnection": options.pop("reconnection", True),
            "reconnection_attempts": options.pop("reconnectionAttempts", 0),
            "reconnection_delay": options.pop("reconnectionDelay", 1000) / 1000,
            "reconnection_delay_max": options.pop("reconnectionDelayMax", 5000) / 1000,
            "randomization_factor": options.pop("randomizationFactor", 0.5),
        }
        if options:
            raise ValueError(f"no such options here: {', '.join(options)}")
        self.polling = RememberedConnections()
        session = requests.Session()
        session.mount("http://", self.polling)
        self.client = kind(http_session=session, handle_sigint=False, **settings)
        self.client.connect_timeout = self.connect_timeout
        self.client.upgraded = self.report_upgrade
        self.client.on("connect", self.report_connect)
        self.client.on("connect_error", self.report_error)
        self.client.on("disconnect", self.report_disconnect)
        self.client.on("*", lambda event, *args: report(name, "event", name=event, args=args))
        self.refused = False
        self.away = True
        self.commands: queue.SimpleQueue[Fields] = queue.SimpleQueue()
        threading.Thread(target=self.obey_all, daemon=True).start()

    def obey_all(self) -> None:
        while True:
            command = self.commands.get()
            try:
                getattr(self, "do_" + command["do"])(command)
            except (AttributeError, ValueError, OSError, socketio.exceptions.SocketIOError) as failure:
                report(self.name, "refused", message=f"cannot do {command}: {failure!r}")

    def do_open(self, command: Fields) -> None:
        if self.auto_connect:
            self.do_connect(command)

    def do_connect(self, _: Fields) -> None:
        self.refused = False
        self.await_state(lambda: not self.client.connected and self.client.eio.state == "disconnected")
        try:
            self.client.connect(
                self.url,
                headers=self.headers,
                auth=self.present,
                transports=self.transports,
                namespaces="/",
                socketio_path=self.path,
            )
        except socketio.exceptions.ConnectionError as failure:
            if not self.refused:
                self.report_error(str(failure))

    def present(self) -> Any:
        self.presented = self.auth if isinstance(self.auth, dict) else {}
        return self.auth

    def do_disconnect(self, _: Fields) -> None:
        self.client.disconnect()

    def do_emit(self, command: Fields) -> None:
        name, args, ack = command["name"], tuple(command["args"]), command.get("ack")
        if ack is None:
            self.client.emit(name, args)
            return
        answered = threading.Lock()

        def answer(*values: Any) -> None:
            if answered.acquire(blocking=False):
                expiry.cancel()
                report(self.name, "ack", id=ack, args=values)

        def expire() -> None:
            if answered.acquire(blocking=False):
                report(self.name, "ack", id=ack, error="operation has timed out")

        expiry = threading.Timer(command["timeout"] / 1000, expire)
        expiry.daemon = True
        expiry.start()
        self.client.emit(name, args, callback=answer)

    def do_set_auth(self, command: Fields) -> None:
        self.auth = command["auth"]

    def do_kill_transport(self, command: Fields) -> None:
        if command["how"] == "close":
            self.client.eio.disconnect()
            return
        websocket = self.client.eio.ws
        for connection in [*self.polling.live, *([websocket.sock] if websocket else [])]:
            try:
                connection.shutdown(tcp.SHUT_RDWR)
            except OSError:
                continue
        self.polling.live.clear()

    def do_state(self, _: Fields) -> None:
        self.await_state(lambda: not self.client.connected)
        connected = self.client.connected
        transport = self.client.transport() if connected else None
        report(self.name, "state", id=self.client.get_sid(), connected=connected, transport=transport)

    def await_state(self, settled: Callable[[], bool]) -> None:
        """The library tells of a disconnect before it is in that state, and of the state itself not at all."""
        deadline = time.monotonic() + self.connect_timeout
        while self.away and not settled() and time.monotonic() < deadline:
            time.sleep(0.005)

    def report_connect(self) -> None:
        self.away = False
        # It has no recovery; the key is there so that one test can read both clients.
        what = {"id": self.client.get_sid(), "recovered": False, "transport": self.client.transport()}
        report(self.name, "connect", **what, since=self.presented.get("since"))

    def report_disconnect(self, reason: str) -> None:
        self.away = True
        report(self.name, "disconnect", reason=reason)

    def report_upgrade(self, transport: str) -> None:
        began_with = self.transports[0] if self.transports else "polling"
        if transport != began_with:
            report(self.name, "upgrade", to=transport)

    def report_error(self, refusal: Any = None) -> None:
        self.away = True
        self.refused = True
        if not isinstance(refusal, dict):
            refusal = {"message": str(refusal)}
        report(self.name, "connect_error", message=refusal.get("message"), data=refusal.get("data"))


def main() -> None:
    clients: dict[str, Client] = {}
    for line in sys.stdin:
        command = json.loads(line, object_hook=from_line)
        if command["do"] == "exit":
            break
        name = command["socket"]
        if command["do"] == "open":
            try:
                clients[name] = Client(name, command["url"], command.get("options", {}))
            except ValueError as failure:
                report(name, "refused", message=str(failure))
                continue
        clients[name].commands.put(command)
    with _output:
        os._exit(0)  # whatever its threads wait for


if __name__ == "__main__":
    main()
