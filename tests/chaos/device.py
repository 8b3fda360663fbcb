"""What an application does with a client: shows a list and a count, resumes, reloads where it must, gives commands.

Three kinds. A stock JS client with offsets on its events, which resumes by itself, or the project's own client for
Trio, which does the same. A python-socketio client without offsets, which tells `since` when it connects: the offset of
the list that it last loaded. A program that has no socket and asks for changes. All of them record what they see; none
of them judges.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import Any

import trio

from djactors.client.socketio import Connected as SocketConnected
from djactors.client.socketio import Disconnected, Event, Socket, SocketError, SocketSettings, connect
from djactors.protocol import Transport
from tests.chaos.plan import DevicePlan, Order
from tests.chaos.requests import BETWEEN_TRIES, Way
from tests.clients.driver import Occurrence, StockClients, StockSocket, Unmet
from tests.history.records import (
    Acknowledged,
    Commanded,
    Connected,
    History,
    Lost,
    Opened,
    Paged,
    Received,
    Reloaded,
)
from tests.offsets import number_of

ACK_SECONDS = 3.0
PAGE = 100
"""Items of a list or changes of a page: the most that a request may ask for."""

BOTH = (Transport.WEBSOCKET, Transport.POLLING)

RECONNECT = {"reconnectionDelay": 100, "reconnectionDelayMax": 1000, "randomizationFactor": 0}
"""A run has no time for the stock backoff of five seconds, and takes no chance from outside its seed."""

POLL_SECONDS = 0.5

SILENCE_SECONDS = 6.0
"""python-socketio (5.18) does not try again when its first connect fails; and one that is cut off in the moment in
which its reconnect succeeds takes itself for connected for ever. So an application that has heard nothing for so long
asks something, and makes a new client if there is no answer."""


SNOOZE_SECONDS = 5.0
"""The longest snooze, so that most come back while the run goes on. The clock of a run is the machine's."""


def _until(order: Order, now: datetime) -> str:
    """The moment to which an order snoozes: one that names it again soon enough has another one."""
    moment = now + timedelta(seconds=0.5 + SNOOZE_SECONDS * order.pick)
    return moment.isoformat()


class Device:
    """One client with its place in the log. Subclasses are the kinds."""

    def __init__(self, plan: DevicePlan, lane: Way, history: History, nursery: trio.Nursery) -> None:
        self.plan = plan
        self.lane = lane
        self.offset: str | None = None
        """The newest offset that it knows of."""
        self.inbox: dict[int, bool] = {}
        self.away: dict[int, bool] = {}
        """What it archived or snoozed, and whether that is read."""
        self.troubles: list[str] = []
        """What no fault explains."""
        self.badge: int | None = None
        """The unread count that it shows: what an event said last, or an ack where acks are heard in order."""
        self.unread: int | None = None
        """The unread count of the list that it loaded last."""
        self._history = history
        self._nursery = nursery
        self._random = Random(plan.seed)
        self._generation = 0
        self._seen: set[int] = set()
        self._count_seq = -1
        history.add(Opened(plan.name, plan.tenant_id, plan.user_id, plan.kind))

    @property
    def _token(self) -> str:
        return self.lane.token(tenant_id=self.plan.tenant_id, user_id=self.plan.user_id)

    async def start(self) -> None:
        """Begin."""
        raise NotImplementedError

    def has_shown(self, notification_id: int, seq: int) -> bool:
        """Whether it has this notification, which came with the change of this number, and a count behind it."""
        return notification_id in self._seen and self._count_seq >= seq

    async def obey(self, order: Order) -> None:
        """Give a command for a notification that it shows, and record the answer if there is one."""
        target = None
        if order.verb not in ("read-all", "seen"):
            # What takes something back is for what is not in the list any more.
            known = self.away if order.verb in ("unarchive", "unsnooze") else self.inbox
            if not known:
                return
            ids = sorted(known)
            target = ids[int(order.pick * len(ids))]
        after = self.offset
        answer = await (self._by_http(order, target) if order.via == "http" else self._by_socket(order, target))
        if answer is not None:
            code = None if answer.get("ok") else answer["error"]["code"]
            if code in (None, "not_found"):
                counts = answer.get("count"), answer.get("unseen")
                self._history.add(Commanded(self.plan.name, order.verb, target, counts[0], code, after, counts[1]))

    async def reload(self) -> None:
        """Load the list until that succeeds, or until another reload has been begun."""
        self._generation += 1
        generation = self._generation
        while generation == self._generation:
            answer = await self.lane.ask("GET", f"/api/notifications?limit={PAGE}", token=self._token)
            # What was asked for before the newest reason to ask may be too old.
            if answer is not None and answer.status == 200 and generation == self._generation:
                self._show(answer.json)
                return
            await trio.sleep(BETWEEN_TRIES)

    def _show(self, page: dict[str, Any]) -> None:
        items = [(item["id"], item["isRead"]) for item in page["items"]]
        complete = page["nextBefore"] is None
        self._history.add(Reloaded(self.plan.name, page["offset"], page["unreadCount"], items, complete))
        self.inbox = dict(items)
        self.unread = page["unreadCount"]
        self._seen.update(self.inbox)
        self._know(page["offset"])

    def _know(self, offset: str) -> None:
        self.offset = offset

    def _forget(self) -> None:
        """It has to begin anew. Where an old database was put back, numbers and ids are given once more."""
        self._seen.clear()
        self._count_seq = -1

    def _apply(self, event: str, data: Any) -> None:
        """Take an event into the list. Each is applied as often as it comes: the list is only for picking from."""
        if event == "notification:new":
            self.inbox[data["id"]] = False
            self._seen.add(data["id"])
        elif event == "notification:read":
            for id_ in list(self.inbox) if data.get("all") else data["notificationIds"]:
                if id_ in self.inbox:
                    self.inbox[id_] = True
        elif event in ("notification:archived", "notification:snoozed"):
            for id_ in data["notificationIds"]:
                self.away[id_] = self.inbox.pop(id_, True)
        elif event in ("notification:unarchived", "notification:unsnoozed"):
            for id_ in data["notificationIds"]:
                self.inbox[id_] = self.away.pop(id_, False) and event == "notification:unarchived"
        elif event == "notification:unread":
            self.inbox.update({id_: False for id_ in data["notificationIds"] if id_ in self.inbox})
        elif event == "notification:deleted":
            for id_ in data["notificationIds"]:
                self.inbox.pop(id_, None)
                self.away.pop(id_, None)

    async def _by_http(self, order: Order, target: int | None) -> dict[str, Any] | None:
        place = order.verb if target is None else f"{target}/{order.verb}"
        method, path = "POST", f"/api/notifications/{place}"
        if order.verb == "delete":
            method, path = "DELETE", f"/api/notifications/{target}"
        body = {"until": _until(order, self.lane.now())} if order.verb == "snooze" else None
        answer = await self.lane.ask(method, path, token=self._token, body=body)
        return None if answer is None else answer.json

    async def _by_socket(self, order: Order, target: int | None) -> dict[str, Any] | None:
        raise NotImplementedError


class SocketDevice(Device):
    """What both kinds with a socket share."""

    def __init__(
        self, plan: DevicePlan, lane: Way, history: History, nursery: trio.Nursery, clients: StockClients
    ) -> None:
        super().__init__(plan, lane, history, nursery)
        self._clients = clients
        self._socket: StockSocket | None = None
        self._told: str | None = None
        """The newest offset on its socket; None until there is one."""

    def _hear(self, occurrence: Occurrence) -> None:
        name = self.plan.name
        match occurrence.what:
            case "connect":
                recovered, since = occurrence["recovered"], occurrence.fields.get("since")
                self._history.add(Connected(name, recovered, since))
                self._told = None
                self._connected(recovered)
            case "event":
                event, args = occurrence["name"], occurrence.args
                offset = args[1] if len(args) > 1 else None
                self._history.add(Received(name, event, args[0], offset))
                self._told = offset or self._told
                if event == "notification:unread-count":
                    self.badge = args[0]["count"]
                self._heard(event, args)
            case "ack" if "count" in (answer := occurrence.args[0]):
                self.badge = answer["count"]
                if self._told is not None:
                    self._history.add(Acknowledged(name, answer["count"], answer["unseen"], self._told))
            case "disconnect":
                self._history.add(Lost(name))
                self._lost()
            case "connect_error" if occurrence["message"] == "Unauthorized":
                self.troubles.append(f"{name}: {occurrence}")

    def _connected(self, recovered: bool) -> None:
        raise NotImplementedError

    def _heard(self, event: str, args: list[Any]) -> None:
        raise NotImplementedError

    def _lost(self) -> None:
        pass

    async def _by_socket(self, order: Order, target: int | None) -> dict[str, Any] | None:
        payload: dict[str, Any] = {} if target is None else {"notificationId": target}
        if order.verb == "snooze":
            payload["until"] = _until(order, self.lane.now())
        return await self._call(f"notification:{order.verb}", payload)

    async def _call(self, name: str, payload: dict[str, Any]) -> dict[str, Any] | None:
        """Give a command; None where no answer came."""
        if self._socket is None:
            return None
        try:
            [answer] = await self._socket.emit(name, payload, ack=True, timeout=ACK_SECONDS)
        except Unmet:
            return None
        return dict(answer)


class StockDevice(SocketDevice):
    """A stock JS client: it resumes by itself, and reloads where it was not recovered."""

    async def start(self) -> None:
        """Connect."""
        auth = {"token": self._token, "tenantId": self.plan.tenant_id}
        options: dict[str, Any] = {"auth": auth, "transports": self.plan.transports, **RECONNECT}
        self._socket = await self._clients.open(self.lane.url, heard=self._hear, **options)

    def _connected(self, recovered: bool) -> None:
        if not recovered:
            self._forget()
            self._nursery.start_soon(self.reload)

    def _heard(self, event: str, args: list[Any]) -> None:
        if len(args) > 1:
            self._know(args[1])
        if event == "changes:reset":
            self._forget()
            self._nursery.start_soon(self.reload)
        elif event == "notification:unread-count" and len(args) > 1:
            self._count_seq = number_of(args[1])
        self._apply(event, args[0])


class TrioDevice(StockDevice):
    """The project's own client for Trio programs, which resumes as the stock one does."""

    _client: Socket | None = None

    async def start(self) -> None:
        """Connect, and hear for ever."""
        auth = {"token": self._token, "tenantId": self.plan.tenant_id}
        # Stock clients begin with polling. The other order is this client's own.
        both = (Transport.POLLING, Transport.WEBSOCKET) if self.plan.seed & 2 else BOTH
        transports = both if self.plan.transports is None else tuple(map(Transport, self.plan.transports))
        settings = SocketSettings(transports, reconnect_delay=0.1, reconnect_delay_max=1.0, jitter=0.0)
        try:
            async with connect(self.lane.url, auth=auth, settings=settings) as self._client:
                async for item in self._client:
                    match item:
                        case SocketConnected(recovered=recovered):
                            self._hear(Occurrence("connect", {"recovered": recovered}))
                        case Event(name=name, args=args):
                            self._hear(Occurrence("event", {"name": name, "args": args}))
                        case Disconnected():
                            self._hear(Occurrence("disconnect", {}))
        except SocketError as error:
            self.troubles.append(f"{self.plan.name}: {error!r}")

    async def _call(self, name: str, payload: dict[str, Any]) -> dict[str, Any] | None:
        if self._client is None:
            return None
        try:
            [answer] = await self._client.call(name, payload, timeout=ACK_SECONDS)
        except SocketError:
            return None
        return dict(answer)


class SinceDevice(SocketDevice):
    """A python-socketio client that declines offsets: it presents the offset of the list that it last loaded."""

    def __init__(
        self, plan: DevicePlan, lane: Way, history: History, nursery: trio.Nursery, clients: StockClients
    ) -> None:
        super().__init__(plan, lane, history, nursery, clients)
        self._reset_seq = -1
        self._newest_counted = -1
        self._heard_at = 0.0
        self._client = 0

    async def start(self) -> None:
        """Load the list, then connect behind it."""
        await self.reload()
        await self._connect()
        while True:
            await trio.sleep(SILENCE_SECONDS / 4)
            if trio.current_time() - self._heard_at > SILENCE_SECONDS and not await self._is_answered():
                assert self._socket is not None
                await self._socket.disconnect()
                self._history.add(Lost(self.plan.name))
                await self._connect()

    async def _connect(self) -> None:
        """With a new client; whatever an earlier one may still say is not listened to."""

        self._client = mine = self._client + 1

        def hear(occurrence: Occurrence) -> None:
            if self._client == mine:
                self._heard_at = trio.current_time()
                self._hear(occurrence)

        self._heard_at = trio.current_time()
        options: dict[str, Any] = {"auth": self._auth(), "transports": self.plan.transports, **RECONNECT}
        self._socket = await self._clients.open(self.lane.url, heard=hear, ordered=True, connect_timeout=5, **options)

    async def _is_answered(self) -> bool:
        assert self._socket is not None
        try:
            await self._socket.emit("auth:refresh", {"token": self._token}, ack=True, timeout=ACK_SECONDS)
        except Unmet:
            return False
        self._heard_at = trio.current_time()
        return True

    def has_shown(self, notification_id: int, seq: int) -> bool:
        """As for all; a count has no number of its own here, but lies behind what came before it."""
        counted = self._newest_counted >= notification_id or self._count_seq >= seq
        return notification_id in self._seen and counted

    def _auth(self) -> dict[str, Any]:
        return {"token": self._token, "tenantId": self.plan.tenant_id, "recovery": False, "since": self.offset}

    def _connected(self, recovered: bool) -> None:
        pass

    def _lost(self) -> None:
        # Some load the list anew while they are away, some rely on what they will be given.
        if self._random.random() < 0.4:
            self._nursery.start_soon(self._reload_and_remember)

    def _heard(self, event: str, args: list[Any]) -> None:
        self._apply(event, args[0])
        if event == "changes:reset":
            self._forget()
            self._newest_counted, self._reset_seq = -1, number_of(args[0]["offset"])
            self._nursery.start_soon(self._reload_and_remember)
        elif event == "notification:unread-count":
            self._newest_counted = max(self._seen, default=-1)
            self._count_seq = self._reset_seq

    async def _reload_and_remember(self) -> None:
        await self.reload()
        if self._socket is not None:
            await self._socket.set_auth(self._auth())


class PollingDevice(Device):
    """A program without a socket: it asks for its changes every now and then."""

    async def start(self) -> None:
        """Load the list, then ask for ever."""
        await self.reload()
        self._nursery.start_soon(self._poll)

    async def _poll(self) -> None:
        while True:
            await trio.sleep(POLL_SECONDS)
            since = self.offset
            path = f"/api/changes?since={since}&limit={PAGE}"
            answer = await self.lane.ask("GET", path, token=self._token)
            # A list that was loaded meanwhile is ahead of this page.
            if answer is None or answer.status != 200 or since is None or since != self.offset:
                continue
            page = answer.json
            self._history.add(Paged(self.plan.name, since, page["items"], page["offset"], page["reset"]))
            if page["reset"]:
                self._forget()
                await self.reload()
                continue
            for item in page["items"]:
                self._apply(item["event"], item["data"])
            self._know(page["offset"])

    def _know(self, offset: str) -> None:
        super()._know(offset)
        self._count_seq = number_of(offset)


def make(
    plan: DevicePlan, lane: Way, history: History, nursery: trio.Nursery, js: StockClients, python: StockClients
) -> Device:
    """The device that a plan asks for; a stock client lives in one of the two processes."""
    if plan.client == "trio":
        return TrioDevice(plan, lane, history, nursery, js)
    if plan.kind == "recovery":
        return StockDevice(plan, lane, history, nursery, js)
    if plan.kind == "since":
        return SinceDevice(plan, lane, history, nursery, python)
    return PollingDevice(plan, lane, history, nursery)
