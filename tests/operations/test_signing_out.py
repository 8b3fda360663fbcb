"""`djactors sign-out`, and what a running server does with signals, weak settings and few descriptors."""

from __future__ import annotations

import functools
import json
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
import trio
from click.testing import Result

from djactors.store.sqlite.lock import DatabaseLock
from tests.edge.test_auth import part
from tests.operations.commands import SECRET, complaint, findings, run
from tests.serving import SERVE, make_token, serving

pytestmark = pytest.mark.usefixtures("own_folder")

WHO = ("--tenant", "1", "--user", "7")


async def command(*arguments: str, **options: Any) -> Result:
    return await trio.to_thread.run_sync(functools.partial(run, *arguments, **options))


async def eventually(what: Callable[[], Any], seconds: float = 20) -> None:
    with trio.fail_after(seconds):
        while not what():
            await trio.sleep(0.05)


async def test_a15_sign_out_goes_through_the_server_and_holds_over_its_restart(own_folder: Path) -> None:
    old = make_token(tenant_id=1, user_id=7, now=1_790_000_000, ttl=10**9)
    async with serving(own_folder) as server:
        assert (await server.request("GET", "/api/notifications", token=old)).status == 200
        refused = complaint(await command("sign-out", *WHO, "--database", str(server.database)))
        assert str(server.process.pid) in refused
        assert refused.endswith("or sign out through the server with --url")
        done = await command("sign-out", *WHO, "--url", server.url)
        assert done.exit_code == 0, done.output
        assert done.stdout.startswith("user 7 of tenant 1 is signed out: tokens issued before 20")
        assert (await server.request("GET", "/api/notifications", token=old)).status == 401
        admin = make_token(tenant_id=1, user_id=1, role="admin")
        for given in ({"DJACTORS_TOKEN": admin}, {"DJACTORS_TOKEN": make_token(role="service")}):
            assert (await command("sign-out", *WHO, "--url", server.url, secret=None, environment=given)).exit_code == 0
        user = {"DJACTORS_TOKEN": make_token(tenant_id=1, user_id=7)}
        said = complaint(await command("sign-out", *WHO, "--url", server.url, environment=user))
        assert said.startswith(f"djactors: {server.url} answered 40")
        said = complaint(await command("sign-out", *WHO, "--url", server.url, secret=None))
        assert said.startswith("djactors: --token: is missing")
        assert await server.stop() == 0
    async with serving(own_folder) as server:
        assert (await server.request("GET", "/api/notifications", token=old)).status == 401


def test_a15_sign_out_writes_to_the_file_only_where_no_server_holds_it() -> None:
    assert "does not exist" in complaint(run("sign-out", *WHO, "--database", "no.db"))
    assert not Path("no.db").exists()
    run("migrate", "--database", "new.db")
    done = run("sign-out", *WHO, "--database", "new.db", secret=None)
    assert done.exit_code == 0, done.output
    with DatabaseLock("new.db"):
        assert str(os.getpid()) in complaint(run("sign-out", *WHO, "--database", "new.db"))


def test_a_wrong_address_is_told_in_one_line() -> None:
    assert "is no address of a server" in complaint(run("sign-out", *WHO, "--url", "file:///etc/passwd"), 2)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert "cannot be reached" in complaint(run("sign-out", *WHO, "--url", url))
    for wrong in ("a b", "a\nb", "\u738b"):
        assert "--token: is no token" in complaint(run("sign-out", *WHO, "--url", url, "--token", wrong)), wrong


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{",
        b"HTTP/1.1 500 No\r\n\r\n[",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 60000,
        b"HTTP/1.1 500 No\r\n\r\n" + b"[" * 60000,
    ],
)
def test_what_answers_as_no_server_of_ours_is_told_in_one_line(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(5)

        def serve() -> None:
            with listening.accept()[0] as connection:
                connection.recv(64 * 1024)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        said = complaint(run("sign-out", *WHO, "--url", f"http://127.0.0.1:{listening.getsockname()[1]}"))
        thread.join(5)
    assert "is no djactors server" in said


# Keys


def keys(path: Path, **secrets: str) -> None:
    entries = [{"kty": "oct", "k": part(secret.encode()), "kid": kid} for kid, secret in secrets.items()]
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"keys": entries}))
    new.chmod(0o600)
    new.replace(path)


async def test_row_40_a_server_reads_its_keys_again_on_sighup_and_when_the_file_changes(own_folder: Path) -> None:
    path = own_folder / "keys.json"
    keys(path, old=SECRET)
    environment = {"DJACTORS_JWT_KEYS_FILE": str(path)}
    signed = run("token", *WHO, environment=environment)
    assert signed.stderr == "signed with kid 'old'\n"
    old = signed.stdout.strip()
    assert jwt.get_unverified_header(old)["kid"] == "old"
    async with serving(own_folder, environment=environment) as server:

        async def status(token: str) -> int:
            return (await server.request("GET", "/api/notifications", token=token)).status

        assert await status(old) == 200
        path.write_text("{")
        server.process.send_signal(signal.SIGHUP)
        await eventually(lambda: "the old ones stay" in server.errors.read_text())
        assert await status(old) == 200
        keys(path, new=SECRET[::-1])
        server.process.send_signal(signal.SIGHUP)
        await eventually(lambda: '"new keys"' in server.errors.read_text())
        assert await status(old) == 401
        new = run("token", *WHO, environment=environment).stdout.strip()
        assert await status(new) == 200
        keys(path, old=SECRET)
        await eventually(lambda: server.errors.read_text().count('"new keys"') == 2)
        assert await status(old) == 200
        assert await server.stop() == 0


async def test_sighup_ends_no_server_that_has_no_file_of_keys(own_folder: Path) -> None:
    async with serving(own_folder) as server:
        server.process.send_signal(signal.SIGHUP)
        await eventually(lambda: "nothing to reload" in server.errors.read_text())
        assert (await server.request("GET", "/healthz")).status == 200
        assert await server.stop() == 0


# What is warned of at the start


async def test_a18_a_low_soft_limit_is_raised_and_a_low_hard_one_is_told(own_folder: Path) -> None:
    limited = ("sh", "-c", 'ulimit -Sn 512 && ulimit -Hn "$0" && exec "$@"')
    async with serving(own_folder, command=(*limited, "4096", *SERVE)) as server:
        limits = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
        assert limits == (4096, 4096)
        # The log has a thread of its own, which may be later than the line that says where the server listens.
        await eventually(lambda: "fewer connections" in server.errors.read_text())
        line = next(line for line in server.errors.read_text().splitlines() if "fewer connections" in line)
        assert "12000 connections need" in line
        assert "LimitNOFILE" in line
    environment = {"DJACTORS_MAX_CONNECTIONS": "1000"}
    before = len((own_folder / "errors.log").read_text())
    async with serving(own_folder, command=(*limited, "4096", *SERVE), environment=environment) as server:
        assert "fewer connections" not in server.errors.read_text()[before:]


def test_a18_check_finds_too_few_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    run("migrate", "--database", "new.db")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 20_000))
    assert findings(run("check", "--database", "new.db")) == {}
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    found = findings(run("check", "--database", "new.db"))
    assert found["descriptors"].startswith(
        "12000 connections need 12192 file descriptors, and this process may have 4096"
    )


async def test_a19_a_weak_secret_and_one_that_all_may_read_are_warned_of_at_the_start(own_folder: Path) -> None:
    weak = "abcdefgh" * 4
    file = own_folder / "settings.toml"
    file.write_text(f'jwt_secret = "{weak}"\n')
    file.chmod(0o644)
    environment = {"JWT_SECRET": weak}
    async with serving(own_folder, arguments=("--config", str(file)), environment=environment) as server:
        log = server.errors.read_text()
        assert "JWT_SECRET: is easy to guess, because it repeats itself" in log
        assert f"--config: {file} holds jwt_secret, and every user of this machine may read it" in log
        assert weak not in log
