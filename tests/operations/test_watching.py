"""`djactors watch`: lines for people, lines of JSON, notes on a desktop, and how it ends."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio

from djactors.client import Connected, Disconnected, Notification, OtherEvent, Read, Reset, UnreadCount
from djactors.operations.watching import Desktop, JsonLines, Lines, NoDesktopError, plain
from tests.serving import SECRET, make_token, serving

PATIENCE = 60
NOTIFICATION = Notification(
    id=7,
    type="job_assigned",
    priority="HIGH",
    title="A [bold]job[/bold]",
    message="two\nlines",
    data={"jobId": 5},
    created_at=datetime(2026, 1, 27, 10, 30, tzinfo=UTC),
    offset="m.3",
)


def test_a_person_sees_one_line_for_each_notification() -> None:
    file = io.StringIO()
    show = Lines(file)
    for item in (
        Connected(transport="websocket"),
        UnreadCount(count=1, unseen=1),
        UnreadCount(count=1, unseen=1),
        NOTIFICATION,
        Read(read_at=NOTIFICATION.created_at, notification_ids=[7]),
        Disconnected(reason="transport close", detail="the connection was cut", retry_in=1.25),
        Disconnected(reason="unreachable", detail="nobody is there", retry_in=2, attempt=1),
        Reset(),
    ):
        show(item)
    lines = file.getvalue().splitlines()
    assert lines[:2] == ["connected by websocket", "1 unread, 1 of them unseen"]
    assert lines[2].endswith("HIGH     A [bold]job[/bold]  two lines  #7 job_assigned")
    assert lines[3:] == [
        "disconnected: the connection was cut; next attempt in 1.2 s",
        "not connected: nobody is there; next attempt in 2.0 s",
        "the server cannot tell what was missed: what is shown has a gap here",
    ]


def test_nothing_of_a_notification_reaches_the_terminal_as_an_order() -> None:
    assert plain("a\x1b]0;title\x07\x9b31m\u202ereversed\tb\r\n") == "a\ufffd]0;title\ufffd\ufffd31m\ufffdreversed b  "


def test_a_script_gets_the_servers_names_and_payloads() -> None:
    file = io.StringIO()
    show = JsonLines(file)
    show(NOTIFICATION)
    show(OtherEvent(name="news:flash", data=[1], offset="m.4"))
    show(Reset(offset="m.5"))
    show(Connected(transport="polling"))
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["notification:new", "news:flash", "changes:reset", "connect"]
    assert lines[0]["offset"] == "m.3"
    assert lines[0]["data"] == {
        "id": 7,
        "type": "job_assigned",
        "priority": "HIGH",
        "title": "A [bold]job[/bold]",
        "message": "two\nlines",
        "data": {"jobId": 5},
        "createdAt": "2026-01-27T10:30:00Z",
        "replaces": None,
    }
    assert (lines[1]["data"], lines[2]["data"]) == ([1], {"offset": "m.5"})


async def test_a_desktop_gets_a_note_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "notify-send"
    program.write_text(
        f'#!{sys.executable}\nimport json, sys\nopen("{tmp_path}/notes", "a").write(json.dumps(sys.argv[1:]) + "\\n")\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    show = Desktop(lambda item: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(show.run)
        show(NOTIFICATION)
        show(Notification(**{**_fields(NOTIFICATION), "replaces": 6}))
        show(Notification(**{**_fields(NOTIFICATION), "priority": "CRITICAL", "message": "<b>&", "title": "-x"}))
        with trio.fail_after(PATIENCE):
            while not (tmp_path / "notes").exists() or (tmp_path / "notes").read_text().count("\n") < 2:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    first, second = [json.loads(line) for line in (tmp_path / "notes").read_text().splitlines()]
    assert first == ["--app-name=djactors", "--urgency=normal", "--", "A [bold]job[/bold]", "two lines"]
    assert second == ["--app-name=djactors", "--urgency=critical", "--", "-x", "&lt;b&gt;&amp;"]


async def test_a_desktop_that_takes_no_notes_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoDesktopError, match="notify-send is missing"):
        Desktop(lambda item: None)
    program = tmp_path / "notify-send"
    program.write_text("#!/bin/sh\necho no display >&2\nexit 1\n")
    program.chmod(0o755)
    show = Desktop(lambda item: None)
    show(NOTIFICATION)
    with pytest.raises(NoDesktopError, match="failed: no display: is this a session"):
        await show.run()


def _fields(item: Notification) -> dict[str, Any]:
    return {name: getattr(item, name) for name in item.__struct_fields__}


def watch(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "djactors.cli", "watch", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JWT_SECRET": SECRET, **environment},
    )


def news(title: str) -> dict[str, Any]:
    return {
        "type": "notification.requested",
        "tenantId": 1,
        "userId": 2,
        "notificationType": "news",
        "priority": "LOW",
        "title": title,
    }


async def test_the_command_follows_an_inbox_and_ends_with_its_reader(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        process = watch("--json", "--tenant", "1", "--user", "2", DJACTORS_URL=server.url)
        try:
            assert process.stdout is not None
            with trio.fail_after(PATIENCE):
                first = json.loads(await trio.to_thread.run_sync(process.stdout.readline))
                assert first["event"] == "connect"
                count = json.loads(await trio.to_thread.run_sync(process.stdout.readline))
                assert (count["event"], count["data"]) == ("notification:unread-count", {"count": 0, "unseen": 0})
                await server.publish(news("one"))
                told = json.loads(await trio.to_thread.run_sync(process.stdout.readline))
                assert (told["event"], told["data"]["title"]) == ("notification:new", "one")
                process.stdout.close()
                while process.poll() is None:
                    await server.publish(news("two"))
                    await trio.sleep(0.05)
            assert process.stderr is not None
            assert (process.returncode, process.stderr.read()) == (0, "")
            # Another one goes on behind a line of the first.
            token = make_token(tenant_id=1, user_id=2)
            second = watch("--since", count["offset"], DJACTORS_URL=server.url, DJACTORS_TOKEN=token)
            assert second.stdout is not None
            lines = [await trio.to_thread.run_sync(second.stdout.readline) for _ in range(2)]
            assert "LOW      one" in lines[1]
            second.terminate()
            second.communicate()
        finally:
            process.kill()
            process.communicate()


async def test_a_token_that_is_refused_ends_the_command(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        token = make_token(tenant_id=1, user_id=2, ttl=-120)
        # A proxy that the environment names is nothing to an inbox, whatever it is.
        process = watch("--url", server.url, DJACTORS_TOKEN=token, ALL_PROXY="socks5://127.0.0.1:1")
        output, complaint = await trio.to_thread.run_sync(process.communicate)
    assert (process.returncode, output) == (1, "")
    assert complaint == (
        "djactors: token_expired: Unauthorized: the token has expired: sign in again, or make a new one with `djactors "
        "token`\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--url", "http://127.0.0.1:1"), 2, "--tenant and --user"),
        (("--url", "http://127.0.0.1:1", "--token", "x", "--since", "7"), 1, "since: '7' is no offset: give one"),
        (("--url", "nowhere", "--token", "x"), 2, "'--url': 'nowhere' is no address of a server"),
        (("--url", "http://127.0.0.1:1", "--token", "a b"), 1, "token: is no JWT"),
        (("--url", "https://127.0.0.1:1", "--token", "x", "--ca", "/nowhere"), 1, "--ca: /nowhere cannot be read"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(arguments: tuple[str, ...], code: int, said: str) -> None:
    process = watch(*arguments)
    _, complaint = process.communicate()
    assert (process.returncode, said in complaint) == (code, True), complaint


def test_a_token_that_cannot_be_signed_is_one_line() -> None:
    process = watch("--url", "http://127.0.0.1:1", "--tenant", "1", "--user", "2", JWT_SECRET="")
    output, complaint = process.communicate()
    assert (process.returncode, output) == (1, "")
    assert complaint == "djactors: JWT_SECRET: is not set: a token cannot be signed without it\n"
