"""What the reference server answers to a request that it refuses, djactors answers, too: to the status and the JSON."""

from __future__ import annotations

from pathlib import Path

from tests.clients.reference import reference_server
from tests.serving import send_request, serving

REFUSED = [
    ("GET", "/socket.io/"),
    ("GET", "/socket.io/?EIO=4"),
    ("GET", "/socket.io/?EIO=4&transport=carrier-pigeon"),
    ("GET", "/socket.io/?EIO=4&transport=constructor"),
    ("GET", "/socket.io/?EIO=4&transport=polling&sid=unknown"),
    ("POST", "/socket.io/?EIO=4&transport=polling&sid=unknown"),
    ("POST", "/socket.io/?EIO=4&transport=polling"),
    ("PUT", "/socket.io/?EIO=4&transport=polling"),
    ("GET", "/socket.io/?EIO=4&transport=websocket"),
    ("GET", "/socket.io/?EIO=3&transport=polling"),
    ("GET", "/socket.io/?transport=polling"),
    ("GET", "/socket.io/?EIO=5&transport=polling"),
]


async def test_a_refusal_is_worded_as_the_reference_server_words_it(tmp_path: Path) -> None:
    differences = []
    async with reference_server() as reference, serving(tmp_path) as server:
        for method, path in REFUSED:
            theirs = await send_request(reference, method, path)
            ours = await server.request(method, path)
            assert set(theirs.json) == {"code", "message"}
            assert ours.headers["content-type"] == theirs.headers["content-type"] == "application/json"
            if (ours.status, ours.json) != (theirs.status, theirs.json):
                differences.append((method, path, (theirs.status, theirs.json), (ours.status, ours.json)))
    assert differences == []
