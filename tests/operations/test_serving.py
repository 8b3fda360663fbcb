"""`djactors serve` and `djactors demo` as an operator has them: start, stop, refusals, and what they print."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h11
import msgspec
import pytest
import trio

from tests.environment.background import in_background
from tests.serving import SECRET, ServedProcess, make_token, send_request, service_token, serving

CLI = (sys.executable, "-W", "error", "-m", "djactors.cli")
SERVE = (*CLI, "serve")
DEMO = (*CLI, "demo")
PATIENCE = 30
INSTALL_SECONDS = 120
"""For npm to install one package from its registry."""

EVENT: dict[str, Any] = {"type": "job.assigned", "tenantId": 1, "jobId": 5, "assigneeId": 7}


async def run(
    *arguments: str, folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """A command that must end by itself."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("DJACTORS_", "JWT_"))}
    variables |= {"JWT_SECRET": SECRET, "SOCKET_PORT": "0", **(environment or {})}
    with trio.fail_after(PATIENCE):
        return await trio.run_process(
            [*CLI, *arguments], cwd=folder, env=variables, capture_stdout=True, capture_stderr=True, check=False
        )


def complaint(done: subprocess.CompletedProcess[bytes]) -> str:
    """The one line on standard error that says why it ended, beside log entries."""
    assert done.returncode == 1, done
    assert b"listening" not in done.stdout
    lines = done.stderr.decode().splitlines()
    assert "Traceback" not in done.stderr.decode()
    told = [line for line in lines if not line.startswith("{")]
    assert len(told) == 1, lines
    assert told[0].startswith("djactors: ")
    assert SECRET not in done.stderr.decode()
    return told[0]


def log(server: ServedProcess) -> list[dict[str, Any]]:
    """Its log entries; each line but the last complaint is one."""
    lines = server.errors.read_text().splitlines()
    return [msgspec.json.decode(line) for line in lines if not line.startswith("djactors: ")]


# Starting


async def test_it_prints_where_it_listens_serves_there_and_stops_with_0(tmp_path: Path) -> None:
    async with serving(tmp_path, command=SERVE) as server:
        assert re.fullmatch(r"http://127\.0\.0\.1:[1-9][0-9]*", server.url)
        assert server.output == [f"listening on {server.url}"]
        assert (await server.request("GET", "/healthz")).json == {"status": "ok"}
        assert (await server.request("GET", "/readyz")).status == 200
        assert (await server.publish(EVENT)).status == 201
        assert await server.stop() == 0
        # A checkout in which the page was never built says so.
        told = [entry["event"] for entry in log(server) if entry["event"] != "no web page"]
        assert told == ["migrated", "listening", "stopping", "stopped"]


async def test_what_was_stored_is_there_after_a_restart(tmp_path: Path) -> None:
    token = make_token(tenant_id=1, user_id=7)
    pages = []
    for _ in range(2):
        async with serving(tmp_path, command=SERVE) as server:
            await server.publish(EVENT, headers={"idempotency-key": "k"})
            pages.append((await server.request("GET", "/api/notifications", token=token)).json)
            await server.stop()
    assert pages[0] == pages[1]
    assert pages[0]["unreadCount"] == 1


async def test_it_listens_on_ipv6_and_prints_a_url_that_works(tmp_path: Path) -> None:
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists() or not Path("/proc/net/if_inet6").read_text():
        pytest.skip("this machine has no IPv6")
    async with serving(tmp_path, command=SERVE, arguments=("--host", "::1")) as server:
        assert re.fullmatch(r"http://\[::1\]:[0-9]+", server.url)
        done = await trio.run_process(["curl", "-sg", f"{server.url}/metrics"], capture_stdout=True)
        assert b"djactors_tcp_connections" in done.stdout


async def test_a_port_that_is_in_use_is_told_with_the_mend(tmp_path: Path) -> None:
    async with serving(tmp_path, command=SERVE) as server:
        number = server.url.rpartition(":")[2]
        done = await run("serve", "--port", number, "--database", "other.db", folder=tmp_path)
        line = complaint(done)
        assert f"127.0.0.1:{number}" in line
        assert "Address already in use" in line
        assert "choose another" in line


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (("--port", "99999"), {}, "SOCKET_PORT"),
        ((), {"SOCKET_PORT": "http"}, "SOCKET_PORT: 'http' is not a whole number"),
        ((), {"DJACTORS_PING_INTERVAL": "0"}, "DJACTORS_PING_INTERVAL"),
        ((), {"JWT_SECRET": ""}, "JWT_SECRET: is not set"),
        ((), {"JWT_SECRET": SECRET[:31]}, "JWT_SECRET: is shorter than 32 bytes"),
        ((), {"JWT_SECRET": "x" * 64}, "JWT_SECRET: is easy to guess"),
        ((), {"DJACTORS_JWT_PUBLIC_KEY_FILE": "none.pem"}, "DJACTORS_JWT_PUBLIC_KEY_FILE: none.pem cannot be read"),
        (("--config", "none.toml"), {}, "--config: none.toml"),
        (("--host", "256.1.1.1"), {}, "256.1.1.1"),
        (("--host", "192.0.2.1"), {}, "192.0.2.1"),
        (("--database", "missing/x.db"), {}, "missing/x.db"),
        (("--database", "."), {}, "cannot be opened"),
        (("--database", "text.db"), {}, "it is not an SQLite database"),
    ],
)
async def test_what_cannot_be_served_is_told_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], environment: dict[str, str], words: str
) -> None:
    (tmp_path / "text.db").write_text("Dear diary, " * 1000)
    done = await run("serve", *arguments, folder=tmp_path, environment=environment)
    assert words in complaint(done)
    assert (tmp_path / "text.db").read_text() == "Dear diary, " * 1000
    assert not (tmp_path / "text.db.lock").exists()


async def test_a_second_server_on_the_same_file_is_refused_and_told_the_pid(tmp_path: Path) -> None:
    async with serving(tmp_path, command=SERVE) as server:
        link = tmp_path / "link.db"
        link.symlink_to(server.database)
        for name in (server.database, link):
            for command in ("serve", "migrate"):
                done = await run(command, "--database", str(name), folder=tmp_path)
                assert f"process {server.process.pid}" in complaint(done)
        assert (await run("check", "--database", str(server.database), folder=tmp_path)).returncode == 0
        assert (await run("migrate", "--check", "--database", str(server.database), folder=tmp_path)).returncode == 0
        assert (await server.publish(EVENT)).status == 201
        server.kill()
        await server.process.wait()
    async with serving(tmp_path, command=SERVE) as server:
        assert (await server.request("GET", "/healthz")).status == 200, "a killed one leaves no lock behind"


# Stopping


async def connect_socket(server: ServedProcess, transport: str, user_id: int) -> trio.SocketStream | None:
    """A connected client that then does nothing: by WebSocket its stream, by polling None."""
    host, port = server.url.removeprefix("http://").split(":")
    if transport == "polling":
        answer = await server.request("GET", "/socket.io/?EIO=4&transport=polling")
        sid = msgspec.json.decode(answer.body[1:])["sid"]
        token = make_token(tenant_id=1, user_id=user_id)
        path = f"/socket.io/?EIO=4&transport=polling&sid={sid}"
        sent = await server.request("POST", path, body=f'40{{"token":"{token}"}}'.encode())
        assert sent.status == 200
        return None
    stream = await trio.open_tcp_stream(host, int(port))
    await stream.send_all(
        f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    assert b" 101 " in await stream.receive_some()
    return stream


async def test_row_26_sigterm_ends_it_in_bounded_time_with_clients_of_every_kind(tmp_path: Path) -> None:
    environment = {"DJACTORS_DRAIN_TIMEOUT": "2"}
    async with serving(tmp_path, command=SERVE, environment=environment) as server, trio.open_nursery() as nursery:
        streams = [await connect_socket(server, "websocket", 7) for _ in range(10)]
        for _ in range(5):
            await connect_socket(server, "polling", 8)
        host, port = server.url.removeprefix("http://").split(":")
        idle = await trio.open_tcp_stream(host, int(port))
        half = await trio.open_tcp_stream(host, int(port))
        await half.send_all(b"POST /api/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        statuses: list[int] = []

        async def publish_for_ever() -> None:
            # Under load to the end: each post is answered, refused, or finds nobody.
            number = 0
            while True:
                number += 1
                try:
                    answer = await server.publish({**EVENT, "id": f"k{number}"})
                except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError):
                    return
                statuses.append(answer.status)
                if answer.status == 201:
                    acknowledged.append(answer.json["eventId"])

        acknowledged: list[int] = []
        for _ in range(4):
            nursery.start_soon(publish_for_ever)
        while len(acknowledged) < 20:
            await trio.sleep(0.01)
        with trio.fail_after(15):
            assert await server.stop() == 0
        assert set(statuses) <= {200, 201, 503}
        for stream in [*streams, idle, half]:
            assert stream is not None
            await trio.aclose_forcefully(stream)
    assert "stopped" in [entry["event"] for entry in log(server)]
    assert not [entry for entry in log(server) if entry["level"] in ("error", "critical")]
    async with serving(tmp_path, command=SERVE) as server:
        page = await server.request("GET", "/api/notifications", token=make_token(tenant_id=1, user_id=7))
        assert page.json["unreadCount"] >= len(set(acknowledged))


async def test_row_26_a_second_sigterm_ends_it_at_once(tmp_path: Path) -> None:
    environment = {"DJACTORS_DRAIN_TIMEOUT": "600"}
    async with serving(tmp_path, command=SERVE, environment=environment) as server:
        host, port = server.url.removeprefix("http://").split(":")
        half = await trio.open_tcp_stream(host, int(port))
        await half.send_all(b"POST /api/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        await server.request("GET", "/healthz")
        server.process.send_signal(signal.SIGTERM)
        with trio.fail_after(PATIENCE):
            while "stopping" not in [entry["event"] for entry in log(server)]:
                await trio.sleep(0.01)
        assert server.process.poll() is None, "it waits for the request"
        with trio.fail_after(10):
            await server.stop()
        await half.aclose()
    assert "Traceback" not in server.errors.read_text()


@pytest.mark.parametrize("start", [SERVE, in_background(*SERVE)], ids=["foreground", "background"])
async def test_ctrl_c_ends_it_like_sigterm(tmp_path: Path, start: tuple[str, ...]) -> None:
    async with serving(tmp_path, command=start) as server:
        server.process.send_signal(signal.SIGINT)
        with trio.fail_after(PATIENCE):
            assert await server.process.wait() == 0
    assert "Traceback" not in server.errors.read_text()


async def test_an_unlinked_database_ends_it_with_a_clear_line(tmp_path: Path) -> None:
    async with serving(tmp_path, command=SERVE) as server:
        assert (await server.publish(EVENT)).status == 201
        server.database.unlink()
        answer = await server.publish({**EVENT, "jobId": 6})
        assert answer.status == 503
        assert answer.json["error"]["code"] == "unavailable"
        assert str(tmp_path) not in answer.body.decode()
        with trio.fail_after(PATIENCE):
            assert await server.process.wait() == 1
    [line] = [line for line in server.errors.read_text().splitlines() if line.startswith("djactors: ")]
    assert "the database or its log is gone" in line
    assert "Traceback" not in server.errors.read_text()
    assert not server.database.exists(), "it is never silently made again"


async def test_a_database_that_another_process_holds_is_503_until_it_lets_go(tmp_path: Path) -> None:
    environment = {"DJACTORS_BUSY_TIMEOUT": "0.1"}
    token = make_token(tenant_id=1, user_id=7)
    async with serving(tmp_path, command=SERVE, environment=environment) as server:
        assert (await server.publish(EVENT)).status == 201
        holder = sqlite3.connect(server.database, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        answer = await server.publish({**EVENT, "id": "k"})
        assert (answer.status, answer.json["error"]["code"]) == (503, "unavailable")
        assert answer.headers["retry-after"] == "1"
        page = await server.request("GET", "/api/notifications", token=token)
        assert (page.status, page.json["unreadCount"]) == (200, 1), "reads go on"
        answer = await server.request("GET", "/readyz")
        assert (answer.status, "locked" in answer.json["error"]["message"]) == (503, True)
        holder.execute("ROLLBACK")
        holder.close()
        assert (await server.publish({**EVENT, "id": "k"})).status == 201, "it heals, and the key is free"
        assert await server.stop() == 0


async def test_head_is_answered_like_get_without_a_body(tmp_path: Path) -> None:
    async with serving(tmp_path, command=SERVE) as server:
        done = await trio.run_process(["curl", "-sSI", f"{server.url}/healthz"], capture_stdout=True)
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"content-length: 15" in head
        assert body == b""


async def test_it_serves_on_when_whoever_read_its_log_is_gone(tmp_path: Path) -> None:
    """`djactors serve 2>&1 | head`, or a log shipper that died."""
    shell = 'exec "$@" 2> >(exec true)'
    async with serving(tmp_path, command=("bash", "-c", shell, "bash", *SERVE)) as server:
        for _ in range(50):
            assert (await server.request("GET", "/nothing")).status == 404
            assert (await server.request("GET", "/api/notifications")).status == 401
        assert (await server.publish(EVENT)).status == 201


async def test_it_needs_no_standard_error(tmp_path: Path) -> None:
    async with serving(tmp_path, command=("bash", "-c", 'exec "$@" 2>&-', "bash", *SERVE)) as server:
        assert (await server.request("GET", "/api/notifications")).status == 401
        assert await server.stop() == 0


# Requests that no route sees


async def test_row_13_bodies_and_heads_that_are_too_large_are_refused_and_the_server_goes_on(tmp_path: Path) -> None:
    async with serving(tmp_path, command=SERVE) as server:
        token = service_token()
        for path in ("/api/events", "/api/events/batch"):
            answer = await server.request("POST", path, token=token, body=b" " * 10_000_000)
            assert (answer.status, answer.json["error"]["code"]) == (413, "body_too_large")
        answer = await server.request("GET", "/healthz", headers={"x": "y" * 100_000})
        assert answer.status == 431
        answer = await server.request("GET", "/" + "x" * 15_000)
        assert answer.status in (414, 431)
        deep = b"[" * 60_000
        assert (await server.request("POST", "/api/events", token=token, body=deep)).status == 400
        wide = b"[" + b"[]," * 600_000 + b"[]]"
        assert (await server.request("POST", "/api/events/batch", token=token, body=wide)).status == 400
        assert (await server.publish(EVENT)).status == 201
        assert not [entry for entry in log(server) if entry["level"] in ("error", "critical")]


async def test_the_largest_batch_that_the_contract_allows_is_taken(tmp_path: Path) -> None:
    async with serving(tmp_path, command=SERVE) as server:
        event = {
            "type": "notification.requested",
            "tenantId": 1,
            "userId": 7,
            "notificationType": "announcement",
            "priority": "LOW",
            "title": "ก" * 255,
            "message": "m" * 1000,
        }
        answer = await server.request("POST", "/api/events/batch", token=service_token(), body=[event] * 1000)
        assert answer.status == 200
        assert not [result for result in answer.json["results"] if "error" in result]


async def test_a_page_of_an_allowed_origin_may_ask_and_another_gets_no_permission(tmp_path: Path) -> None:
    environment = {"DJACTORS_ALLOWED_ORIGINS": "https://app.example.com"}
    async with serving(tmp_path, command=SERVE, environment=environment) as server:
        for path in ("/api/notifications", "/api/nothing"):
            for origin, allowed in (("https://app.example.com", True), ("https://evil.example", False)):
                for method in ("OPTIONS", "GET"):
                    answer = await server.request(method, path, headers={"origin": origin})
                    assert answer.headers.get("access-control-allow-origin") == (origin if allowed else None)
                    assert "Origin" in answer.headers["vary"].split(", ")


async def test_metrics_tell_of_sockets_and_events(tmp_path: Path) -> None:
    async with serving(tmp_path, command=SERVE) as server:
        stream = await connect_socket(server, "websocket", 7)
        await server.publish(EVENT)
        text = (await server.request("GET", "/metrics")).body.decode()
        assert 'djactors_domain_events_total{outcome="recorded",type="job.assigned"} 1.0' in text
        assert 'djactors_connections{transport="websocket"} 1.0' in text
        # The clock and retention commit as well.
        assert re.search(r"^djactors_commit_seconds_count [1-9]", text, re.MULTILINE)
        assert 'djactors_mailbox_depth{actor="router"} 0.0' in text
        assert stream is not None
        await stream.aclose()


# The demo


async def test_the_demo_prints_lines_that_work_as_printed(tmp_path: Path) -> None:
    async with serving(tmp_path, command=DEMO, environment={"JWT_SECRET": "", "TMPDIR": str(tmp_path)}) as server:
        text = "\n".join(server.output)
        assert server.output[-1] == f"listening on {server.url}"
        links = re.findall(r"^  (.+) \((\w+)\): (http://\S+)/#token=(\S+)$", text, re.MULTILINE)
        assert [role for _, role, _, _ in links] == ["user", "user", "user", "manager", "admin"]
        for _, _, url, token in links:
            assert url == server.url
            page = await server.request("GET", "/api/notifications", token=token)
            assert page.status == 200
        tokens = {name: token for name, _, _, token in links}
        somchai = tokens["Somchai Designer"]

        watch = [line for line in server.output if "socket.io-client" in line]
        assert len(watch) == 5
        assert all(f" {server.url} " in line for line in watch)
        assert sum(somchai in line for line in watch) == 1

        before = (await send_request(server.url, "GET", "/api/notifications", token=somchai)).json["unreadCount"]
        [curl] = [line.strip() for line in server.output if line.strip().startswith("curl ")]
        done = await trio.run_process(["sh", "-c", curl], capture_stdout=True, capture_stderr=True)
        assert msgspec.json.decode(done.stdout)["notifications"][0]["userId"] == 2
        after = (await send_request(server.url, "GET", "/api/notifications", token=somchai)).json
        assert after["unreadCount"] == before + 1
        assert "Packaging - Spring Edition is due in 3 minutes" in text
        anna = tokens["Anna Designer"]
        jobs = (await send_request(server.url, "GET", "/api/jobs?assignee=me", token=anna)).json["items"]
        assert [(job["title"], job["deadline"] is None) for job in jobs] == [("Packaging - Spring Edition", False)]
        assert await server.stop() == 0
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("djactors-demo-")], "nothing is left behind"


async def test_the_demos_line_watches_a_user_as_printed(tmp_path: Path, path_with_node: str) -> None:
    settings = {"JWT_SECRET": "", "TMPDIR": str(tmp_path)}
    async with serving(tmp_path, command=DEMO, environment=settings) as server:
        [line] = [line for line in server.output if line.startswith("  Somchai Designer: ")]
        watching = await trio.lowlevel.open_process(
            ["sh", "-c", line.removeprefix("  Somchai Designer: ")],
            stdout=subprocess.PIPE,
            env=os.environ | settings | {"PATH": path_with_node},
            start_new_session=True,
        )
        assert watching.stdout is not None
        try:
            seen = b""
            with trio.fail_after(INSTALL_SECONDS):
                while b"notification:unread-count" not in seen:
                    chunk = await watching.stdout.receive_some()
                    assert chunk, seen
                    seen += chunk
        finally:
            os.killpg(watching.pid, signal.SIGKILL)
            await watching.wait()
            await watching.stdout.aclose()
        assert seen.startswith(b"connected\n"), seen


# Secrets


async def test_row_30_no_secret_is_in_the_log_or_the_process_list(tmp_path: Path) -> None:
    environment = {"DJACTORS_LOG_LEVEL": "debug"}
    async with serving(tmp_path, command=SERVE, environment=environment) as server:
        user, service = make_token(tenant_id=1, user_id=7), service_token()
        key = "the-idempotency-key"
        for token in (user, service, f"{user}x"):
            for method, path in (
                ("POST", "/api/events"),
                ("POST", "/api/events/batch"),
                ("GET", "/api/notifications"),
                ("GET", f"/api/notifications?token={token}"),
                ("POST", "/api/notifications/9/read"),
                ("BREW", "/api/notifications"),
                ("GET", f"/socket.io/?EIO=4&transport=polling&token={token}"),
                ("POST", f"/socket.io/?EIO=3&sid={token}"),
            ):
                await server.request(method, path, token=token, body=EVENT, headers={"idempotency-key": key})
        await connect_socket(server, "polling", 7)
        pid_key = (
            (
                await trio.run_process(
                    [
                        sys.executable,
                        "-c",
                        "import sqlite3,sys; print(sqlite3.connect(sys.argv[1]).execute("
                        "'SELECT pid_key FROM meta').fetchone()[0])",
                        str(server.database),
                    ],
                    capture_stdout=True,
                )
            )
            .stdout.decode()
            .strip()
        )
        command_line = Path(f"/proc/{server.process.pid}/cmdline").read_text()
        metrics = (await server.request("GET", "/metrics")).body.decode()
        await server.stop()
    assert len(pid_key) == 64
    everything = server.errors.read_text() + command_line + metrics + "".join(server.output)
    for secret in (SECRET, user, service, key, pid_key, "Bearer", user.split(".")[1], "Job 5 assigned"):
        assert secret not in everything


async def test_it_listens_on_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "djactors.sock"
    readers = {"DJACTORS_METRICS_ADDRESSES": "127.0.0.1/32"}
    async with serving(tmp_path, arguments=("--socket", str(path)), environment=readers) as server:
        assert server.url == f"unix:{path}"
        for route, status in (("/healthz", b"200"), ("/metrics", b"404")):
            async with await trio.open_unix_socket(path) as client:
                await client.send_all(b"GET %b HTTP/1.1\r\nHost: test\r\n\r\n" % route.encode())
                assert status in (await client.receive_some()).splitlines()[0]
        assert await server.stop() == 0
    assert not path.exists()


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"DJACTORS_UNIX_SOCKET": "x" * 200}, "DJACTORS_UNIX_SOCKET: has 200 bytes"),
        ({"DJACTORS_UNIX_SOCKET_MODE": "rw"}, "DJACTORS_UNIX_SOCKET_MODE: 'rw' are no rights"),
        ({"DJACTORS_HOST": "::,"}, "DJACTORS_HOST: has a comma"),
        ({"DJACTORS_UNIX_SOCKET": "inbox.txt"}, "cannot listen on inbox.txt: there is a file that is no socket"),
    ],
)
async def test_a_place_that_cannot_be_listened_on_is_refused_with_the_mend(
    tmp_path: Path, environment: dict[str, str], told: str
) -> None:
    (tmp_path / "inbox.txt").write_text("precious")
    assert told in complaint(await run("serve", folder=tmp_path, environment=environment))
