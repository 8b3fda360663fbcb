"""A served process to test against: `djactors serve` as an operator starts it, on a free port, in its own folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import h11
import msgspec
import trio

from djactors.config import Settings
from djactors.operations.tokens import sign
from tests.tls import client_context

SECRET = "a-secret-for-tests-only-0123456789abcdef"
SERVE = (sys.executable, "-m", "djactors.cli", "serve")
START_SECONDS = 30
STOP_SECONDS = 30
ANSWER_SECONDS = 30


def make_token(**claims: Any) -> str:
    """A token of the test secret; keywords as `sign` takes them."""
    return sign(Settings(jwt_secret=SECRET), **claims)


def service_token(tenant_id: int | None = None) -> str:
    return make_token(role="service", tenant_id=tenant_id)


class Answer(msgspec.Struct):
    """What came back: `json` is decoded on access."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


async def send_request(
    url: str,
    method: str,
    path: str,
    *,
    token: str | None = None,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    patience: float = ANSWER_SECONDS,
) -> Answer:
    """One HTTP request on a connection of its own; `body` is bytes, or is sent as JSON. `patience` is in seconds.

    A URL of `https` is one with a certificate of `tests.tls`.
    """
    scheme, _, place = url.partition("://")
    host, port = place.split(":")
    content = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
    fields = {"host": f"{host}:{port}", "content-length": str(len(content)), "connection": "close", **(headers or {})}
    if token is not None:
        fields["authorization"] = f"Bearer {token}"
    if content:
        fields.setdefault("content-type", "application/json")
    peer = h11.Connection(h11.CLIENT)
    with trio.fail_after(patience):
        async with await _connect(scheme, host, int(port)) as stream:
            head = peer.send(h11.Request(method=method, target=path, headers=list(fields.items())))
            data = peer.send(h11.Data(content)) or b""
            # A refusal may come before the body has been read.
            with suppress(trio.BrokenResourceError):
                await stream.send_all(head + data + (peer.send(h11.EndOfMessage()) or b""))
            response: h11.Response | None = None
            parts: list[bytes] = []
            while True:
                event = peer.next_event()
                if event is h11.NEED_DATA:
                    peer.receive_data(await stream.receive_some())
                elif isinstance(event, h11.Response):
                    response = event
                elif isinstance(event, h11.Data):
                    parts.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    break
    assert response is not None
    names = {bytes(name).decode(): bytes(value).decode() for name, value in response.headers}
    return Answer(response.status_code, names, b"".join(parts))


async def _connect(scheme: str, host: str, port: int) -> trio.abc.Stream:
    stream = await trio.open_tcp_stream(host, port)
    if scheme == "http":
        return stream
    return trio.SSLStream(stream, client_context(), server_hostname=host, https_compatible=True)


class ServedProcess:
    """A running server. `url` is where it listens; `errors` is the file that its standard error goes to."""

    def __init__(self, process: trio.Process, url: str, database: Path, errors: Path, output: list[str]) -> None:
        self.process = process
        self.url = url
        self.database = database
        self.errors = errors
        self.output = output

    async def request(self, method: str, path: str, **options: Any) -> Answer:
        return await send_request(self.url, method, path, **options)

    async def publish(self, event: Mapping[str, Any], **options: Any) -> Answer:
        """Post one domain event as a service."""
        options.setdefault("token", service_token())
        return await self.request("POST", "/api/events", body=event, **options)

    async def introduce(self, tenant_id: int, *user_ids: int) -> None:
        """Have a service make people known: a person may name nobody else."""
        for user_id in user_ids:
            event = {"tenantId": tenant_id, "userId": user_id, "name": f"Known {user_id}", "role": "user"}
            answer = await self.publish({"type": "user.upserted", **event})
            assert answer.status == 201, answer.body

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM, then wait; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        with trio.fail_after(STOP_SECONDS):
            return await self.process.wait()


@asynccontextmanager
async def serving(
    folder: Path,
    *,
    arguments: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
    command: tuple[str, ...] = SERVE,
    stderr: int | None = None,
    pass_fds: tuple[int, ...] = (),
) -> AsyncIterator[ServedProcess]:
    """Run a serving command in `folder`, on the database there; whatever happens, the process is gone afterwards.

    `environment` is added to this process's, `arguments` to the command. Standard error is the file `errors`, or the
    descriptor that is given. The process inherits `pass_fds`.
    """
    database = folder / "inbox.db"
    errors = folder / "errors.log"
    variables = {
        **os.environ,
        "JWT_SECRET": SECRET,
        "SOCKET_PORT": "0",
        "DJACTORS_DATABASE": str(database),
        **(environment or {}),
    }
    with errors.open("ab") as log:
        process = await trio.lowlevel.open_process(
            [*command, *arguments],
            stdout=subprocess.PIPE,
            stderr=log if stderr is None else stderr,
            env=variables,
            cwd=folder,
            pass_fds=pass_fds,
        )
    try:
        output: list[str] = []
        url = await _listening(process, output, errors)
        yield ServedProcess(process, url, database, errors, output)
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        if process.stdout is not None:
            await process.stdout.aclose()


async def _listening(process: trio.Process, output: list[str], errors: Path) -> str:
    assert process.stdout is not None
    text = ""
    with trio.move_on_after(START_SECONDS):
        async for chunk in process.stdout:
            text += bytes(chunk).decode()
            *lines, text = text.split("\n")
            output.extend(lines)
            for line in lines:
                if line.startswith("listening on "):
                    return line.removeprefix("listening on ")
    raise AssertionError(f"the server did not start: {output} {errors.read_text()[-2000:]}")
