"""No request ends the served process or leaves a task or descriptor behind: the known killers, and worse."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from tests.serving import ServedProcess, make_token, service_token, serving

KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
SOCKET_IO = b"/socket.io/?EIO=4&transport=websocket"


def handshake(*, host: bytes = b"localhost", connection: bytes = b"Upgrade", more: bytes = b"") -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: %b\r\nUpgrade: websocket\r\nConnection: %b\r\n%b%b\r\n" % (
        SOCKET_IO,
        host,
        connection,
        KEY,
        more,
    )


def frame(opcode: int, payload: bytes, *, masked: bool = True, fin: bool = True) -> bytes:
    head = bytes([(0x80 if fin else 0) | opcode])
    size = len(payload)
    bit = 0x80 if masked else 0
    head += bytes([bit | size]) if size < 126 else bytes([bit | 126]) + struct.pack("!H", size)
    return head + (b"\0\0\0\0" if masked else b"") + payload


HOSTILE: dict[str, bytes] = {
    "host-not-ascii": handshake(host=b"\xff"),
    "host-bad-punycode": handshake(host=b"xn--\xe4\xf6\xfc.xn--a"),
    "host-punycode-overflow": handshake(host=b"xn--99999999999999"),
    "connection-not-ascii": handshake(connection=b"Upgrade\xff"),
    "protocol-not-ascii": handshake(more=b"Sec-WebSocket-Protocol: \xff\xfe\r\n"),
    "extensions-not-ascii": handshake(more=b"Sec-WebSocket-Extensions: \xe9\r\n"),
    "extensions-nonsense": handshake(more=b"Sec-WebSocket-Extensions: ;;;=,,\r\n"),
    "key-missing": b"GET %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (SOCKET_IO, UPGRADE),
    "key-not-base64": b"GET %b HTTP/1.1\r\nHost: a\r\n%bSec-WebSocket-Key: !\r\nSec-WebSocket-Version: 13\r\n\r\n"
    % (SOCKET_IO, UPGRADE),
    "version-8": b"GET %b HTTP/1.1\r\nHost: a\r\n%bSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 8\r\n\r\n" % (SOCKET_IO, UPGRADE),
    "upgrade-elsewhere": b"GET /api/events HTTP/1.1\r\nHost: a\r\n%b%b\r\n" % (UPGRADE, KEY),
    "frame-unmasked": handshake() + frame(1, b"40", masked=False),
    "frame-reserved-opcode": handshake() + frame(3, b"x"),
    "frame-bad-utf8": handshake() + frame(1, b"\xff\xff"),
    "frame-continuation-first": handshake() + frame(0, b"x"),
    "frame-huge-length": handshake() + b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
    "frame-ping-too-long": handshake() + frame(9, b"x" * 200),
    "frame-close-bad-code": handshake() + frame(8, b"\x00\x01"),
    "empty-fragments": handshake() + frame(1, b"", fin=False) + frame(0, b"", fin=False) * 5000,
    "engine-nonsense": handshake() + frame(1, b"9hello"),
    "socket-nonsense": handshake() + frame(1, b'4{"') + frame(1, b"45999-[]"),
    "connect-twice": handshake() + frame(1, b"40{}") + frame(1, b"40{}"),
    "event-before-connect": handshake() + frame(1, b'42["notification:read",{}]'),
    "event-nested": handshake() + frame(1, b"42" + b"[" * 60_000),
    "auth-not-an-object": handshake() + frame(1, b'40["token"]'),
    "polling-unknown-sid": b"GET /socket.io/?EIO=4&transport=polling&sid=x HTTP/1.1\r\nHost: a\r\n\r\n",
    "polling-bad-escape": b"GET /socket.io/?EIO=4&transport=%zz&sid=%ff HTTP/1.1\r\nHost: a\r\n\r\n",
    "http-garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
    "http-no-host": b"GET / HTTP/1.1\r\n\r\n",
    "http-smuggling": b"POST /api/events HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "http-negative-length": b"POST /api/events HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "http-endless-header": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000,
    "http-many-headers": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 5000,
    "http-nul": b"GET /\0 HTTP/1.1\r\nHost: \0\r\n\r\n",
}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServedProcess]:
    # Small bounds, so that what is over them is quickly sent.
    async with serving(
        tmp_path, environment={"DJACTORS_MAX_PAYLOAD": "10000", "DJACTORS_LOG_LEVEL": "warning"}
    ) as process:
        yield process


def descriptors(server: ServedProcess) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def attack(url: str, data: bytes, *, reset: bool) -> None:
    """Send and leave: politely after what the server has to say, or with a reset at once."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as peer:
        try:
            peer.sendall(data)
            if reset:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(65536):
                pass
        except (ConnectionResetError, BrokenPipeError):
            pass


async def test_row_14_no_request_ends_the_process_or_leaks_a_descriptor(server: ServedProcess) -> None:
    assert (await server.request("GET", "/healthz")).status == 200
    before = descriptors(server)
    for name, data in HOSTILE.items():
        for reset in (False, True):
            await trio.to_thread.run_sync(lambda data=data, reset=reset: attack(server.url, data, reset=reset))
        assert server.process.poll() is None, name
        assert (await server.request("GET", "/healthz")).status == 200, name
    posted = await server.publish({"type": "job.assigned", "tenantId": 1, "jobId": 5, "assigneeId": 3})
    assert posted.status == 201
    # Connections that were reset end a moment later; descriptors do not come back by themselves.
    with trio.move_on_after(20):
        while descriptors(server) > before:
            await server.request("GET", "/healthz")
    assert descriptors(server) <= before
    errors = server.errors.read_text()
    assert "Traceback" not in errors, errors
    assert "connection failed" not in errors, errors


BAD_BODIES: dict[str, tuple[bytes, int]] = {
    "unknown-type": (b'{"type":"job.exploded","tenantId":1}', 400),
    "no-type": (b'{"tenantId":1}', 400),
    "missing-field": (b'{"type":"job.assigned","tenantId":1,"jobId":1}', 400),
    "extra-field": (b'{"type":"job.assigned","tenantId":1,"jobId":1,"assigneeId":1,"surprise":1}', 400),
    "wrong-type": (b'{"type":"job.assigned","tenantId":1,"jobId":"one","assigneeId":1}', 400),
    "2^63": (b'{"type":"job.assigned","tenantId":1,"jobId":9223372036854775808,"assigneeId":1}', 400),
    "2^53": (b'{"type":"job.assigned","tenantId":1,"jobId":9007199254740992,"assigneeId":1}', 400),
    "surrogate": (b'{"type":"job.created","tenantId":1,"title":"a\\ud800b","requesterId":1}', 400),
    "nested": (b"[" * 60_000, 400),
    "nested-data": (
        b'{"type":"notification.requested","tenantId":1,"userId":1,"notificationType":"x","priority":"LOW",'
        b'"title":"t","data":{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}}",
        400,
    ),
    "ten-megabytes": (b" " * 10_000_000, 413),
    "invalid-utf8": (b'{"type":"job.created","tenantId":1,"title":"\xff","requesterId":1}', 400),
    "empty": (b"", 400),
    "not-json": (b"hello", 400),
    "no-approver": (b'{"type":"job.submitted","tenantId":1,"jobId":1}', 400),
}


async def test_row_15_bad_input_gets_a_clear_error_and_stores_nothing(server: ServedProcess) -> None:
    for name, (body, status) in BAD_BODIES.items():
        answer = await server.request("POST", "/api/events", token=service_token(), body=body)
        assert answer.status == status, name
        error = answer.json["error"]
        assert set(error) == {"code", "message"}, name
        assert error["message"], name
    deep = b"[" * 100_000
    assert (await server.request("POST", "/api/events/batch", token=service_token(), body=deep)).status == 400
    assert (await server.request("GET", "/api/nothing")).status == 404
    assert (await server.request("PUT", "/api/events", token=service_token())).status == 405
    inbox = await server.request("GET", "/api/notifications", token=make_token(tenant_id=1, user_id=1))
    assert (inbox.json["items"], inbox.json["offset"].split(".")[1]) == ([], "0")


async def test_megabytes_are_taken_from_services_only(server: ServedProcess) -> None:
    body = b"[" + b" " * 1_000_000 + b"]"
    for token, status in ((None, 401), ("nonsense", 401), (make_token(tenant_id=1, user_id=1), 403)):
        assert (await server.request("POST", "/api/events/batch", token=token, body=body)).status == status
    answer = await server.request("POST", "/api/events/batch", token=service_token(), body=body)
    assert (answer.status, answer.json) == (200, {"results": []})


async def test_row_24_one_bad_item_does_not_sink_a_batch(server: ServedProcess) -> None:
    batch: list[object] = [
        {"type": "job.assigned", "tenantId": 1, "jobId": number + 1, "assigneeId": number + 1} for number in range(1000)
    ]
    batch[400] = {"type": "job.assigned", "tenantId": 1, "jobId": 401, "assigneeId": "nobody"}
    answer = await server.request("POST", "/api/events/batch", token=service_token(), body=batch)
    assert answer.status == 200
    results = answer.json["results"]
    assert len(results) == 1000
    assert [place for place, result in enumerate(results) if "error" in result] == [400]
    assert "assigneeId" in results[400]["error"]["message"]
    told = [result["notifications"][0]["userId"] for result in results if "error" not in result]
    assert told == [number for number in range(1, 1001) if number != 401]
    counted = await server.request("GET", "/api/notifications/unread-count", token=make_token(tenant_id=1, user_id=999))
    assert counted.json["count"] == 1
