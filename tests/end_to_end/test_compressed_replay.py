"""F7: what a client that polls missed comes compressed, except for the answer that holds its session's identity."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from tests.serving import ServedProcess, make_token, serving

MISSED = 60
PATH = "/socket.io/?EIO=4&transport=polling"


def notification(number: int) -> dict[str, Any]:
    return {
        "type": "notification.requested",
        "tenantId": 1,
        "userId": 7,
        "notificationType": "note",
        "priority": "LOW",
        "title": f"Job {number} was assigned to you",
    }


async def replay(server: ServedProcess, token: str, since: str, accepted: str) -> tuple[list[str], int, bool]:
    """The packets of a returning client up to the count that ends the replay, the bytes of all polls, and whether the
    one with the answer to the CONNECT was compressed."""
    headers = {"accept-encoding": accepted}
    opened = await server.request("GET", PATH, headers=headers)
    assert "content-encoding" not in opened.headers
    path = f"{PATH}&sid={json.loads(opened.body[1:])['sid']}"
    connect = "40" + json.dumps({"token": token, "since": since})
    assert (await server.request("POST", path, body=connect.encode())).status == 200
    packets: list[str] = []
    size = 0
    secret_compressed = False
    while not any("notification:unread-count" in packet for packet in packets):
        answer = await server.request("GET", path, headers=headers)
        assert answer.status == 200
        size += len(answer.body)
        compressed = answer.headers.get("content-encoding") == "gzip"
        text = (gzip.decompress(answer.body) if compressed else answer.body).decode()
        secret_compressed |= compressed and "pid" in text
        packets += text.split("\x1e")
    return packets, size, secret_compressed


def told(packets: list[str]) -> list[str]:
    return [packet for packet in packets if packet.startswith("42")]


async def test_f7_a_replay_by_polling_is_compressed_without_its_secrets(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        token = make_token(tenant_id=1, user_id=7)
        await server.introduce(1, 7)
        since = (await server.request("GET", "/api/notifications", token=token)).json["offset"]
        for number in range(MISSED):
            assert (await server.publish(notification(number))).status == 201
        plain, plain_size, _ = await replay(server, token, since, "identity")
        packed, packed_size, secret_compressed = await replay(server, token, since, "gzip, deflate, br")
        listed = await server.request(
            "GET", "/api/notifications?limit=100", token=token, headers={"accept-encoding": "gzip"}
        )
    assert len(told(plain)) == MISSED + 1
    assert told(packed) == told(plain)
    assert not secret_compressed
    assert packed_size < plain_size / 2, (packed_size, plain_size)
    assert listed.headers["content-encoding"] == "gzip"
    assert len(json.loads(gzip.decompress(listed.body))["items"]) == MISSED
