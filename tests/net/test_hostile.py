"""Requests that crash a bare trio-websocket server, and their kin: each is contained to its own connection."""

import os

import pytest
import trio

from tests.net.applications import (
    KEY,
    UPGRADE,
    Echo,
    answers,
    connect,
    listening,
    masked,
    open_raw_websocket,
    receive_all,
    receive_until,
    reset,
    until,
)


def upgrade_with(*lines: bytes) -> bytes:
    return UPGRADE.replace(b"\r\n\r\n", b"\r\n" + b"\r\n".join(lines) + b"\r\n\r\n")


HANDSHAKES = {
    "host that is not ascii": UPGRADE.replace(b"Host: test", b"Host: \xff"),
    "host in bad punycode": UPGRADE.replace(b"Host: test", b"Host: xn--a.xn--\x80"),
    "host in bad ascii punycode": UPGRADE.replace(b"Host: test", b"Host: xn--999999999999999"),
    "host with an endless label": UPGRADE.replace(b"Host: test", b"Host: " + b"a" * 300),
    "empty host": UPGRADE.replace(b"Host: test", b"Host:"),
    "connection that is not ascii": UPGRADE.replace(b"Connection: Upgrade", b"Connection: Upgrade, \xff"),
    "protocol that is not ascii": upgrade_with(b"Sec-WebSocket-Protocol: \xff"),
    "extensions that are not ascii": upgrade_with(b"Sec-WebSocket-Extensions: \xff"),
    "compression asked for": upgrade_with(b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"),
    "a protocol asked for": upgrade_with(b"Sec-WebSocket-Protocol: chat, superchat"),
    "a target full of escapes": UPGRADE.replace(b"/socket", b"/socket?%ff=%00&%zz"),
    "many connection headers": upgrade_with(b"Connection: \xfe, keep-alive"),
}


@pytest.mark.parametrize("head", HANDSHAKES.values(), ids=HANDSHAKES)
async def test_a_handshake_with_hostile_headers_is_served_or_refused_and_nothing_more(head):
    before, tasks = len(os.listdir("/proc/self/fd")), trio.lowlevel.current_statistics().tasks_living
    async with listening() as listener:
        for leave in (trio.SocketStream.aclose, reset):
            client = await connect(listener)
            await client.send_all(head)
            answer = await receive_until(client, b"\r\n\r\n")
            assert answer.startswith((b"HTTP/1.1 101 ", b"HTTP/1.1 400 "))
            assert b"Sec-WebSocket-Extensions" not in answer
            await leave(client)
        assert await answers(listener)
        await until(lambda: listener.connections == 0)
    assert (len(os.listdir("/proc/self/fd")), trio.lowlevel.current_statistics().tasks_living) == (before, tasks)


async def test_a_plain_request_and_a_reset_do_no_harm():
    async with listening() as listener:
        for _ in range(20):
            client = await connect(listener)
            await client.send_all(b"GET /socket HTTP/1.1\r\nHost: test\r\n\r\n")
            await reset(client)
        await until(lambda: listener.connections == 0)
        assert await answers(listener)


async def test_a_ping_after_the_server_has_said_goodbye_does_no_harm():
    application = Echo()

    async def say_goodbye(websocket) -> None:
        await websocket.close(4000, "enough")

    application.converse = say_goodbye
    async with listening(application) as listener:
        client = await open_raw_websocket(listener)
        assert await receive_until(client, b"enough") == b"\x88\x08\x0f\xa0enough"
        await client.send_all(masked(0x89, b"are you there?") + masked(0x81, b"late") * 10)
        await client.send_all(masked(0x88, b"\x0f\xa0"))
        # Nothing follows a close frame, neither a pong nor a second one.
        assert await receive_all(client) == b""
        await client.aclose()
        await until(lambda: listener.connections == 0)
        assert await answers(listener)


FRAMES = {
    "unmasked": b"\x81\x05hello",
    "reserved bit": masked(0xC1, b"x"),
    "reserved opcode": masked(0x83, b"x"),
    "reserved control opcode": masked(0x8B),
    "fragmented ping": masked(0x09),
    "long ping": masked(0x89, b"x" * 126),
    "continuation of nothing": masked(0x80, b"x"),
    "text inside a fragmented message": masked(0x01, b"x") + masked(0x81, b"y"),
    "length in too many bytes": b"\x81\xfe\x00\x05\1\2\3\4hello",
    "length in far too many bytes": b"\x81\xff" + bytes(7) + b"\x05\1\2\3\4hello",
    "length of 2^63": b"\x81\xff\x80" + bytes(7) + b"\1\2\3\4",
    "close with one byte": masked(0x88, b"\x03"),
    "close with code 1006": masked(0x88, b"\x03\xee"),
    "close with code 0": masked(0x88, b"\x00\x00"),
    "close with code 65535": masked(0x88, b"\xff\xff"),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
async def test_a_breach_of_the_protocol_is_told_and_ends_that_connection(frame):
    application = Echo()
    async with listening(application) as listener:
        client = await open_raw_websocket(listener)
        await client.send_all(frame)
        assert await receive_until(client, b"\x03\xea") is not None
        await client.aclose()
        await until(lambda: listener.connections == 0)
        assert [code for code, _ in application.endings] == [1002]
        assert await answers(listener)


@pytest.mark.parametrize("frame", [masked(0x81, b"\xff\xfe"), masked(0x88, b"\x03\xe8\xff"), masked(0x81, b"\xc3")])
async def test_text_that_is_not_utf8_ends_with_1007(frame):
    application = Echo()
    async with listening(application) as listener:
        client = await open_raw_websocket(listener)
        await client.send_all(frame)
        assert (await receive_all(client))[2:4] == (1007).to_bytes(2, "big")
        await client.aclose()
        await until(lambda: listener.connections == 0)
    assert [code for code, _ in application.endings] == [1007]


async def test_random_frames_never_harm_the_server():
    application = Echo()
    async with listening(application) as listener:
        for seed in range(60):
            client = await open_raw_websocket(listener)
            noise = bytes((seed * 31 + index * index * 7) % 256 for index in range(300))
            await client.send_all(bytes([seed * 4 % 256, 0x80 | seed % 128]) + noise)
            await client.send_eof()
            await receive_all(client)
            await client.aclose()
        await until(lambda: listener.connections == 0)
        assert await answers(listener)
    assert KEY
