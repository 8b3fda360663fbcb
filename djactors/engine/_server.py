"""Engine.IO 4 on Trio: the register of sessions, and what becomes of each request to its path.

    request ── Origin ── sid ── judge_request ─┬─ OpenSession      admission, a new session
                                               ├─ Poll             wait for packets, answer
                                               ├─ Push             act on packets, `ok`
                                               ├─ AttachWebSocket  the upgrade
                                               ├─ RejectWebSocket  accept and close
                                               └─ HttpError

A session has no task. A GET waits, and a WebSocket is served, in the task of its own connection. `run` is one task with
the timers of all sessions. Requests are answered before and after `run` runs, but nothing times out then.

Whoever knows a sid counts as its client, because a stock client proves nothing else with its polls. So the sid is a
secret. If a deployment's clients can prove more, `may_use` is the place to check this.
"""

from collections import deque
from collections.abc import Callable, Collection
from functools import partial
from math import ceil
from typing import Final

import trio

from djactors.engine._admission import Admission, Excess
from djactors.engine._heartbeat import Heartbeat, settle
from djactors.engine._jsonp import asks_for_jsonp, jsonp_refusal
from djactors.engine._origins import OriginPolicy
from djactors.engine._polling import (
    PROBED_PAUSE,
    Headers,
    Outbox,
    error_response,
    poll_response,
    preflight_response,
    push_response,
)
from djactors.engine._refusals import Refusal, wrong_packets, wrong_request
from djactors.engine._session import CONNECT_TIMEOUT, DRAINED, SLOW_CONSUMER, Session, SessionHandler
from djactors.engine._settings import BYTES_PER_TURN, EngineSettings
from djactors.engine._telemetry import EngineTelemetry
from djactors.net import (
    AddressCounts,
    ByteStream,
    CostlyWork,
    Crowd,
    ProvenAddresses,
    Request,
    Response,
    Turnstile,
    UnprovenBytes,
    WebSocket,
    open_websocket,
)
from djactors.protocol import (
    BAD_REQUEST,
    FORBIDDEN,
    NOOP,
    UNKNOWN_SID,
    AttachWebSocket,
    CloseReason,
    Decision,
    EngineSession,
    HttpError,
    OpenSession,
    Poll,
    ProtocolError,
    Push,
    RejectWebSocket,
    Transport,
    judge_request,
)

# The reference server has no such code, but its clients look only at the status.
BUSY = HttpError(503, 6, "Too many new sessions")
TOO_MANY_OF_ADDRESS = HttpError(429, 6, "Too many sessions from this address")
# The code is the reference server's, which also lets its application choose the message.
ORIGIN_REFUSED = HttpError(
    FORBIDDEN.status,
    FORBIDDEN.code,
    "Forbidden: the server does not allow the origin of this page. Add it to the allowed origins or, if it is the "
    "server's own page, have the proxy pass the Host header on unchanged",
)
PAYLOAD_TOO_LARGE = HttpError(413, 3, "Payload too large")

# A drain closes at least this many sessions a second. Their reconnects reach other servers at the same pace.
DRAIN_RATE = 500.0
_DRAIN_STEP_SECONDS = 0.05

TOLD_AT_ONCE: Final = 64
"""Handlers that are told in a turn of the loop that their sessions have ended, which takes some 20 µs each."""


class EngineServer:
    """All sessions of one Engine.IO path.

    Args:
        settings: times and bounds.
        make_handler: is called with each new session, before anything has been sent on it.
        origins: which pages may connect.
        random_token: returns a fresh secret of at least 128 bits, safe in a URL.
        telemetry: gets the counts.
        may_use: whether a request that names a session's sid may use the session; a refusal looks like an unknown sid.
        unproven: the budget of sessions that are not proven, best the listener's; by default one of its own.
        crowd: how many of those who come at the same moment go on in a turn of the loop, best the listener's.
        proven: addresses whose newcomers go first when many come. Sessions add theirs, see `Session.prove`.
        shows_proof: whether a handshake brings a proof of its own, such as a token in a header. It is asked only where
            the address is not proven and many come.
    """

    def __init__(
        self,
        settings: EngineSettings,
        make_handler: Callable[[Session], SessionHandler],
        *,
        origins: OriginPolicy,
        random_token: Callable[[], str],
        telemetry: EngineTelemetry,
        may_use: Callable[[Session, Request], bool] = lambda session, request: True,
        unproven: UnprovenBytes | None = None,
        crowd: Crowd | None = None,
        proven: ProvenAddresses | None = None,
        shows_proof: Callable[[Request], bool] = lambda request: False,
    ) -> None:
        # See `SessionOwner`.
        self.unproven = unproven or UnprovenBytes()
        self.costly = CostlyWork()
        # What those do of whom nobody knows yet who they are: a handshake or a CONNECT, each of which takes 0.2 ms.
        self.crowd = crowd or Crowd()
        self._newcomers = Turnstile(self.crowd)
        self._settings = settings
        self._protocol_settings = settings.protocol()
        self._make_handler = make_handler
        self._origins = origins
        self._random_token = random_token
        self._telemetry = telemetry
        self._may_use = may_use
        self._proven = ProvenAddresses() if proven is None else proven
        self._shows_proof = shows_proof
        self._admission = Admission(
            max_sessions=settings.max_sessions, rate=settings.admit_rate, burst=settings.admit_burst
        )
        # What is told of newcomers who are refused, and of sessions that are ended over a bound.
        self._admission_rules = {
            "draining": "nobody new while the server stops",
            "address": f"at most {settings.max_sessions_per_address} sessions from one address",
            "sessions": f"at most {settings.max_sessions} sessions",
            "share": "a share of the new sessions that leaves room for other addresses",
            "rate": f"at most {settings.admit_rate:g} new sessions a second, and {settings.admit_burst} at once",
        }
        self._overrun = {
            CONNECT_TIMEOUT: ("no CONNECT", f"a CONNECT within {settings.connect_timeout:g} s"),
            SLOW_CONSUMER: (
                "too much that it has not read",
                f"at most {settings.outbox_packets} packets or {settings.outbox_bytes} bytes that are unread",
            ),
        }
        self._heartbeat = Heartbeat(lambda error: telemetry.failed(error, ""))
        self._sessions: dict[str, Session] = {}
        self._per_address = AddressCounts()
        # Ended sessions whose last packets wait for one more GET, for a bounded time.
        self._leaving: dict[str, Session] = {}
        # Ended sessions whose handlers have not been told yet.
        self._untold: deque[Session] = deque()

    @property
    def sessions(self) -> Collection[Session]:
        """The open sessions: a live view. Do not wait while you walk through it."""
        return self._sessions.values()

    def body_limit(self, request: Request) -> int | Response:
        """Return how many bytes the body of a request may have, or its refusal, which needs no body: see `Application`.

        Nothing but a POST of an open session brings one.
        """
        cors = self._origins.headers(request)
        if not self._origins.allows(request):
            return self._forbid(request, cors)
        session = self._sessions.get(request.query.get("sid", ""))
        if session is not None and not self._may_use(session, request):
            session = None
        match self._judge(request, session, wants_websocket=False):
            case Push():
                assert session is not None
                request.proof = session.proof
                return session.max_payload
            case HttpError() as error if request.method != "OPTIONS":
                return self._refuse(wrong_request(error, request), error, cors)
            case _:
                return 0

    # Running and stopping

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the timers of all sessions, and call the `on_close` of sessions that have ended, until cancelled."""
        task_status.started()
        try:
            await self._heartbeat.run(self._tell_handlers)
        finally:
            self._tell_all()

    def stop_admitting(self) -> None:
        """Answer new handshakes with 503 from now on. Open sessions go on."""
        self._admission.open = False

    async def close_all(self, seconds: float) -> None:
        """Stop admitting and close every session, evenly over at most `seconds`, sooner if there are few.

        The transports are closed, so stock clients reconnect to any server that is then reachable. If this is
        cancelled, the remaining sessions stay open.
        """
        self.stop_admitting()
        waiting = list(self._sessions.values())
        steps = max(1.0, min(seconds, len(waiting) / DRAIN_RATE) / _DRAIN_STEP_SECONDS)
        step = max(1, ceil(len(waiting) / steps))
        for start in range(0, len(waiting), step):
            if start:
                await trio.sleep(_DRAIN_STEP_SECONDS)
            for session in waiting[start : start + step]:
                session.close(DRAINED)
        await trio.lowlevel.checkpoint()

    def end_all(self, reason: str) -> None:
        """Drop every session and its unsent packets at once, and call `on_close`. Use this after the last `run`."""
        for session in list(self._sessions.values()):
            session.close(reason, say_goodbye=False)
        self._tell_all()

    # Requests

    async def handle(self, request: Request) -> Response:
        """Answer a GET, POST or OPTIONS whose body, of at most `max_payload` bytes, has been read.

        A poll waits here until there is something to send. Cancelling it closes its session.
        """
        if asks_for_jsonp(request):
            expected = "polling by XMLHttpRequest or fetch, or a WebSocket"
            self._telemetry.refused(Refusal("jsonp", request.peer, "JSONP polling, with j in the query", expected))
            return jsonp_refusal(request)
        cors = self._origins.headers(request)
        if not self._origins.allows(request):
            return self._forbid(request, cors)
        if request.method == "OPTIONS":
            return preflight_response(self._origins, request)
        session = await self._find(request)
        if session is not None and session.closed and request.method == "GET":
            outbox = session.outbox
            if outbox is not None and outbox.packets and not outbox.has_waiter:
                return poll_response(outbox.take(), cors)
        match self._judge(request, session, wants_websocket=False):
            case OpenSession():
                return await self._open_by_polling(request, cors)
            case Poll():
                assert session is not None
                return await self._poll(session, request, cors)
            case Push():
                assert session is not None
                return await self._push(session, request, cors)
            case HttpError() as error:
                return self._refuse(wrong_request(error, request), error, cors)
            case AttachWebSocket() | RejectWebSocket():  # never for a request that does not ask for one
                return error_response(BAD_REQUEST, cors)

    def refusal(self, status: int, message: str, request: Request) -> Response:
        """Word an error of HTTP itself, such as a body that is too large, in the shape of this protocol's errors.

        It carries the CORS headers, because a page of an allowed origin could not read it otherwise.
        """
        return error_response(HttpError(status, BAD_REQUEST.code, message), self._origins.headers(request))

    async def upgrade(self, request: Request, stream: ByteStream, leftover: bytes) -> Response | None:
        """Carry a WebSocket until it ends, or refuse it. See `Application.upgrade`."""
        judged = await self._judge_upgrade(request)
        if isinstance(judged, Response):
            return judged
        session, greeting = judged
        most = self._settings.max_payload if session is None else session.max_payload
        websocket = open_websocket(request, stream, leftover, most, greeting)
        # Nobody needs the head any more, and a browser's would take 2 KiB while the WebSocket lives.
        request.let_go()
        del judged, greeting
        if session is None:
            async with websocket:
                return None
        session.attach(websocket)
        try:
            async with websocket:
                try:
                    while True:
                        message = await websocket.receive()
                        if session.proven:
                            self.crowd.make_way()
                        else:
                            await self._newcomers.turn()
                        if len(message) > BYTES_PER_TURN:
                            async with self.costly:
                                session.receive(websocket, message)
                        else:
                            session.receive(websocket, message)
                finally:
                    # Detach before the closing handshake, which may take some seconds.
                    session.detach(websocket)
        finally:
            session.detach(websocket)
            if websocket.breach is not None:
                self._telemetry.refused(
                    Refusal("frame", session.peer, websocket.breach, "WebSocket frames by RFC 6455, not too large")
                )

    async def _judge_upgrade(self, request: Request) -> Response | tuple[Session | None, bytes]:
        """Return the session of a WebSocket and the frames to greet it with, or a response that refuses it.

        If the session is None, the WebSocket must be accepted and closed.
        """
        if not self._origins.allows(request):
            return self._forbid(request, self._origins.headers(request))
        session = await self._find(request)
        match self._judge(request, session, wants_websocket=True):
            case OpenSession():
                refusal = await self._admit(request)
                if refusal is not None:
                    return self._turn_away(request, refusal)
                session = self._open(Transport.WEBSOCKET, request)
                return session, session.open_packet().frame
            case AttachWebSocket():
                assert session is not None
                session.begin_upgrade(trio.current_time())
                return session, b""
            case RejectWebSocket():
                return None, b""
            case HttpError() as error:
                return self._refuse(wrong_request(error, request), error, self._origins.headers(request))
            case Poll() | Push():  # never for a request that asks for a WebSocket
                return error_response(BAD_REQUEST, self._origins.headers(request))

    async def _find(self, request: Request) -> Session | None:
        """Return the session that the request names, with its timers up to date."""
        sid = request.query.get("sid")
        if not sid:
            return None
        session = self._sessions.get(sid) or self._leaving.get(sid)
        if session is None or not self._may_use(session, request):
            return None
        if session.engine.answers_polls_at_once:
            # Read first what other sockets have brought: one of them may have the `5` that completes the upgrade.
            await settle()
        request.proof = session.proof
        now = trio.current_time()
        # This request may bring the pong. So after a stall, the heartbeat ticks instead, once everything has been read.
        if not session.closed and now >= session.next_deadline and not self._heartbeat.is_late(now):
            session.tick(now)
        return session

    @staticmethod
    def _judge(request: Request, session: Session | None, *, wants_websocket: bool) -> Decision:
        engine = None if session is None else session.engine
        return judge_request(
            request.method, request.query, wants_websocket=wants_websocket, find_session=lambda sid: engine
        )

    def _refuse(self, refusal: Refusal, error: HttpError, cors: Headers) -> Response:
        self._telemetry.refused(refusal)
        return error_response(error, cors)

    def _forbid(self, request: Request, cors: Headers) -> Response:
        expected = "an Origin with the host and port of Host, or one that is allowed"
        return self._refuse(
            Refusal("origin", request.peer, self._origins.told(request), expected), ORIGIN_REFUSED, cors
        )

    def _turn_away(self, request: Request, excess: Excess) -> Response:
        expected = self._admission_rules[excess.reason]
        self._telemetry.refused(Refusal(excess.reason, request.peer, "a new session", expected))
        error = TOO_MANY_OF_ADDRESS if excess.by_share else BUSY
        return error_response(error, self._origins.headers(request), excess.retry_after)

    async def _admit(self, request: Request) -> Excess | None:
        """Let a newcomer in when its turn comes and return None, or return why it was refused."""
        # The room is checked before the rate, so that one address over its cap does not use up the others' turns.
        now = trio.current_time()
        refusal = self._no_room(request)
        if refusal is None:
            known = self._proven.has(request.peer, now)
            refusal = self._admission.refusal(len(self._sessions), now, request.peer, known=known)
            # A proof costs a signature check, so it is looked at only where it decides.
            if refusal is not None and not known and self._admission.open and self._shows_proof(request):
                refusal = self._admission.refusal(len(self._sessions), now, request.peer, known=True)
        if refusal is None and (turn := self._admission.turn(now)) is not None:
            self._heartbeat.schedule(turn)
            await turn.wait()
            # Where the loop is late, the turns of many come at the same moment.
            await self._newcomers.turn()
            # Newcomers with an earlier turn may have taken the room.
            refusal = self._no_room(request)
        return refusal

    def _no_room(self, request: Request) -> Excess | None:
        if self._per_address[request.peer] >= self._settings.max_sessions_per_address:
            return Excess("address", by_share=True)
        if len(self._sessions) >= self._settings.max_sessions:
            return Excess("sessions")
        return None if self._admission.open else Excess("draining")

    def _open(self, transport: Transport, request: Request) -> Session:
        now = trio.current_time()
        engine = EngineSession(self._random_token(), transport, self._protocol_settings, now)
        session = Session(engine, self._settings, self, peer=request.peer, now=now)
        session.handler = self._make_handler(session)
        self._sessions[session.sid] = session
        self._per_address.add(session.peer)
        self._heartbeat.schedule(session)
        self._telemetry.session_opened(transport)
        return session

    # Polling

    async def _open_by_polling(self, request: Request, cors: Headers) -> Response:
        refusal = await self._admit(request)
        if refusal is not None:
            return self._turn_away(request, refusal)
        session = self._open(Transport.POLLING, request)
        return self._answer_poll(session, session.open_packet().payload, cors)

    async def _push(self, session: Session, request: Request, cors: Headers) -> Response:
        content_type = request.headers.get("content-type") or ""
        if content_type.partition(";")[0].strip().lower() == "application/octet-stream":
            # Revision 3 of the protocol sent bytes like this. As text, they would be nonsense.
            session.transport_lost(Transport.POLLING, CloseReason.VIOLATION)
            refusal = wrong_request(BAD_REQUEST, request, "application/octet-stream, as Engine.IO 3 sent bytes")
            return self._refuse(refusal, BAD_REQUEST, cors)
        if not session.proven:
            await self._newcomers.turn()
        try:
            await session.receive_payload(request.body)
        except ProtocolError as error:
            answer = PAYLOAD_TOO_LARGE if error.code == "payload_bytes" else BAD_REQUEST
            return self._refuse(wrong_packets(error, session.peer), answer, cors)
        request.proof = session.proof
        return push_response(cors)

    async def _poll(self, session: Session, request: Request, cors: Headers) -> Response:
        outbox = session.outbox
        assert outbox is not None
        if outbox.has_waiter:
            session.transport_lost(Transport.POLLING, CloseReason.VIOLATION)
            refusal = wrong_request(BAD_REQUEST, request, "a second GET while the first one waits")
            return self._refuse(refusal, BAD_REQUEST, cors)
        if not outbox.packets:
            request.let_go()
            try:
                with outbox.waiter():
                    async with request.watch_disconnect():
                        await self._wait_for_packets(session, outbox)
            except BaseException:
                session.transport_lost(Transport.POLLING)
                raise
            if request.disconnected:
                session.transport_lost(Transport.POLLING)
                return error_response(UNKNOWN_SID, cors)  # nobody reads it
        return self._answer_poll(session, outbox.take() if outbox.packets else NOOP.payload, cors)

    def _answer_poll(self, session: Session, payload: bytes, cors: Headers) -> Response:
        if not (session.proven or session.closed) and session.outbox is not None:
            self.unproven.settle(session, session.outbox.size)
        response = poll_response(payload, cors)
        response.on_lost = partial(session.transport_lost, Transport.POLLING)
        return response

    @staticmethod
    async def _wait_for_packets(session: Session, outbox: Outbox) -> None:
        if not session.engine.answers_polls_at_once:
            await outbox.wait()
        if session.engine.answers_polls_at_once:
            with trio.move_on_after(PROBED_PAUSE):
                await outbox.wait()

    # Called by sessions: `SessionOwner`

    def schedule(self, session: Session) -> None:
        """See `SessionOwner`."""
        self._heartbeat.schedule(session)

    def proved(self, session: Session) -> None:
        """See `SessionOwner`."""
        self._proven.add(session.peer, trio.current_time())

    def upgraded(self, session: Session) -> None:
        """See `SessionOwner`."""
        self._telemetry.session_upgraded()

    def violated(self, session: Session, error: ProtocolError) -> None:
        """See `SessionOwner`."""
        self._telemetry.refused(wrong_packets(error, session.peer))

    def parting(self, websocket: WebSocket) -> None:
        """See `SessionOwner`."""
        self._heartbeat.schedule(websocket)

    def ended(self, session: Session, *, has_last_words: bool) -> None:
        """See `SessionOwner`."""
        if self._sessions.pop(session.sid, None) is not None:
            self._per_address.remove(session.peer)
        self._heartbeat.cancel(session)
        if has_last_words:
            self._leaving[session.sid] = session
            self._heartbeat.schedule(session)
        self._telemetry.session_closed(session.transport, session.reason or "")
        if session.reason in self._overrun:
            came, expected = self._overrun[session.reason]
            self._telemetry.refused(Refusal(session.reason, session.peer, came, expected))
        self._untold.append(session)
        self._heartbeat.wake()

    def forget(self, session: Session) -> None:
        """See `SessionOwner`."""
        self._leaving.pop(session.sid, None)
        self._heartbeat.cancel(session)

    def _tell_handlers(self) -> bool:
        """Tell some handlers that their sessions have ended; whether there are others."""
        self._tell(min(TOLD_AT_ONCE, len(self._untold)))
        return bool(self._untold)

    def _tell_all(self) -> None:
        while self._untold:
            self._tell(len(self._untold))

    def _tell(self, handlers: int) -> None:
        for _ in range(handlers):
            session = self._untold.popleft()
            try:
                session.tell_end()
            except Exception as error:  # noqa: BLE001 - the supervisor of handlers: the others are to be told as well
                self._telemetry.failed(error, session.peer)
