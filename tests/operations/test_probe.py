"""`djactors probe` in front of proxies and servers that are each wrong in one way: it names that, and no more."""

from __future__ import annotations

import functools
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import Result as Ended

from djactors.app import Server
from djactors.domain.reserved import PROBE_TENANT, PROBE_USER
from djactors.operations.probe import FINDINGS, Plan, Report, probe, token_for
from djactors.operations.probe.door import Door
from djactors.operations.probe.lines import WebSocketLine, over_websocket
from djactors.operations.probe.reach import redirect
from djactors.operations.probe.report import WrongError
from tests.operations.commands import complaint, run
from tests.operations.proxies import Passed, Stream, Wrong, certificate, page, proxy
from tests.operations.test_embedding import running, settings
from tests.serving import make_token, send_request

pytestmark = pytest.mark.usefixtures("own_folder")

PERSON = "203.0.113.7"
SHORT = 0.5
"""Patience where nothing comes."""


def probe_token(**more: Any) -> str:
    return make_token(**{"tenant_id": PROBE_TENANT, "user_id": PROBE_USER, "role": "service", **more})


async def findings(url: str, **more: Any) -> dict[str, str]:
    """What is found, by check."""
    report = Report(url)
    plan = Plan(url, **{"token": probe_token(), **more})
    results = [result async for result in probe(plan, report)]
    assert results == report.results
    for result in results:
        assert result.ok or result.mend == FINDINGS[result.finding].mend
    return {result.check: result.finding for result in results if not result.ok}


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


# Requests that a proxy changes, or answers itself


def host_changed(request: Passed) -> None:
    request.headers["host"] = "127.0.0.1:3000"


def bare_proxy_pass(request: Passed) -> None:
    """nginx's defaults: Host is the upstream's, and the upgrade is not passed."""
    host_changed(request)
    websocket_not_passed(request)


def websocket_not_passed(request: Passed) -> None:
    request.headers.pop("upgrade", None)
    request.headers["connection"] = "close"


def host_without_port(request: Passed) -> None:
    request.headers["host"] = request.headers["host"].partition(":")[0]


def without(name: str) -> Callable[[Passed], None]:
    return lambda request: request.headers.pop(name, None) and None


def other_session(request: Passed) -> None:
    """The next request goes to another server."""
    if request.method == "POST" and "transport=polling" in request.target:
        request.target = re.sub("sid=[^&]*", "sid=of-another-server", request.target)


def other_token(request: Passed) -> None:
    if request.body.startswith(b'40{"token"'):
        request.body = b'40{"token":"no"}'


def own(status: int, when: Callable[[Passed], bool], **headers: str) -> Callable[[Passed], bytes | None]:
    return lambda request: page(status, **headers) if when(request) else None


def as_current(request: Passed) -> None:
    request.target = request.target.replace("EIO=3", "EIO=4")


def posts_event(request: Passed) -> bool:
    return request.method == "POST" and request.target == "/api/events" and "authorization" in request.headers


CORS = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "content-type"}
POLLS = "transport=polling"

CHANGED: list[tuple[str, Callable[[Passed], bytes | None], dict[str, str]]] = [
    ("a proxy that is right", lambda request: None, {}),
    ("A17 and F2: Apache without ProxyPreserveHost", host_changed, {"page": "host_changed"}),
    (
        "A17 and F2: nginx with a bare proxy_pass",
        bare_proxy_pass,
        {"page": "host_changed", "websocket": "websocket_not_passed", "upgrade": "upgrade_failed"},
    ),
    ("$host in the place of $http_host", host_without_port, {"page": "host_without_port"}),
    (
        "no upgrade",
        websocket_not_passed,
        {"websocket": "websocket_not_passed", "upgrade": "upgrade_failed"},
    ),
    (
        "no upgrade with a sid",
        own(400, lambda request: request.is_upgrade and "sid=" in request.target),
        {"upgrade": "upgrade_failed"},
    ),
    ("no Authorization", without("authorization"), {"token": "authorization_lost"}),
    ("no Origin", without("origin"), {"foreign page": "any_origin", "preflight": "headers_not_allowed"}),
    (
        "F3: OPTIONS answered by the proxy",
        own(204, lambda r: r.method == "OPTIONS", **CORS),
        {"preflight": "headers_not_allowed"},
    ),
    ("client_max_body_size 1m", own(413, lambda r: len(r.body) > 2**20), {"batch": "body_too_large"}),
    ("F1: EIO=3 taken", as_current, {"old client": "old_protocol"}),
    ("no POST", own(405, posts_event), dict.fromkeys(("polling", "websocket", "upgrade"), "post_refused")),
    ("no DELETE", own(405, lambda r: r.method == "DELETE"), {"delete": "delete_refused"}),
    ("nobody behind it", own(502, lambda r: True), {"server": "bad_gateway"}),
    ("another site", own(200, lambda r: True), {"server": "not_djactors"}),
    ("http to https", own(301, lambda r: True, Location="https://x.example"), {"redirect": "redirect_loses_body"}),
    ("another name", own(308, lambda r: True, Location="https://x.example"), {"redirect": "redirects"}),
    (
        "CONNECT changed",
        other_token,
        {"polling": "connect_refused", "upgrade": "connect_refused"},
    ),
    (
        "several servers without stickiness",
        other_session,
        {
            "polling": "session_lost",
            "page": "session_lost",
            "upgrade": "session_lost",
        },
    ),
    (
        "no /socket.io/",
        own(404, lambda r: "EIO=4" in r.target and r.method != "OPTIONS"),
        {
            "polling": "polling_refused",
            "page": "polling_refused",
            "websocket": "websocket_not_passed",
            "upgrade": "polling_refused",
            "foreign page": "polling_refused",
        },
    ),
]


@pytest.mark.parametrize(("before", "expected"), [pytest.param(b, e, id=name) for name, b, e in CHANGED])
async def test_a_proxy_that_changes_requests_is_named(
    tmp_path: Path, before: Callable[[Passed], bytes | None], expected: dict[str, str]
) -> None:
    async with running(settings(tmp_path)) as server, proxy(server.url, Wrong(before)) as url:
        assert await findings(url) == expected


# Answers that come late, in pieces, or not at all


def has_news(answer: bytes) -> bool:
    return b"notification:new" in answer


async def found_after(tmp_path: Path, after: Any, clock: Clock, **more: Any) -> dict[str, str]:
    async with running(settings(tmp_path)) as server, proxy(server.url, Wrong(after=after)) as url:
        return await findings(url, clock=clock, **more)


async def test_a_poll_whose_answer_comes_late_is_named(tmp_path: Path) -> None:
    clock = Clock()

    async def after(request: Passed, answer: bytes, client: Stream) -> None:
        if has_news(answer):
            clock.now += 3
        await client.send_all(answer)

    assert await found_after(tmp_path, after, clock) == {"polling": "delivered_late"}


async def test_a_poll_whose_answer_comes_in_pieces_is_named(tmp_path: Path) -> None:
    clock = Clock()

    async def after(request: Passed, answer: bytes, client: Stream) -> None:
        if not has_news(answer):
            await client.send_all(answer)
            return
        await client.send_all(answer[:-1])
        await trio.testing.wait_all_tasks_blocked(0.05)  # The first piece has been read.
        clock.now += 1.5
        await client.send_all(answer[-1:])

    assert await found_after(tmp_path, after, clock) == {"polling": "delivered_in_pieces"}


async def test_a_notification_that_does_not_come_is_named(tmp_path: Path) -> None:
    async def after(request: Passed, answer: bytes, client: Stream) -> None:
        await client.send_all(page(200, "6") if has_news(answer) else answer)

    assert await found_after(tmp_path, after, Clock(), patience=SHORT) == {"polling": "not_delivered"}


async def test_a_cache_is_named(tmp_path: Path) -> None:
    kept: list[bytes] = []

    async def after(request: Passed, answer: bytes, client: Stream) -> None:
        if "EIO=4&transport=polling" in request.target and "sid=" not in request.target and request.method == "GET":
            kept.append(answer)
            answer = kept[0]
        await client.send_all(answer)

    found = await found_after(tmp_path, after, Clock())
    assert found["polling"] == "polling_cached"


async def test_f1_a_packet_of_another_parser_that_is_taken_is_named(tmp_path: Path) -> None:
    wrong = Wrong(frames=lambda data: b"" if data[:1] == b"\x82" else data)
    async with running(settings(tmp_path)) as server, proxy(server.url, wrong) as url:
        assert await findings(url, patience=SHORT) == {"other parser": "other_parser"}


# Idle connections


@pytest.mark.parametrize("which", ["websocket", "polling"])
async def test_a_proxy_that_cuts_what_is_quiet_is_named(tmp_path: Path, which: str) -> None:
    async with running(settings(tmp_path, ping_interval=5)) as server:
        wrong = Wrong(idle=0.3)
        if which == "polling":  # This one lets no WebSocket through, and is told so beside.
            wrong.before = websocket_not_passed
        async with proxy(server.url, wrong) as url:
            found = await findings(url, idle=1.0)
    assert found["idle"] == "idle_cut"
    assert set(found) <= {"idle", "websocket", "upgrade"}


async def test_a_connection_that_is_quiet_until_the_pings_come_is_no_finding(tmp_path: Path) -> None:
    async with running(settings(tmp_path, ping_interval=0.2)) as server, proxy(server.url, Wrong(idle=2)) as url:
        assert await findings(url, idle=1.0) == {}


# What is right though it is unusual


async def test_a_path_before_all_others_is_part_of_the_address(tmp_path: Path) -> None:
    def strip(request: Passed) -> bytes | None:
        inside = request.target.startswith("/notify/")
        request.target = request.target.removeprefix("/notify")
        return None if inside else page(404)

    async with running(settings(tmp_path)) as server, proxy(server.url, Wrong(strip)) as url:
        assert await findings(f"{url}/notify/") == {}


async def test_what_an_answer_says_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    wrong = Wrong(lambda _: page(200, "\x1b[2J\nok   all"))
    async with running(settings(tmp_path)) as server, proxy(server.url, wrong) as url:
        lines = [result.line() async for result in probe(Plan(url, probe_token()), Report(url))]
    assert all(line.isprintable() for line in lines)
    assert "[2J ok all" in lines[-1]


# The server's settings


async def test_f4_pages_that_are_listed_connect_and_others_are_named(tmp_path: Path) -> None:
    listed = ("capacitor://localhost", "https://*.example.com")
    async with running(settings(tmp_path, allowed_origins=listed)) as server:
        assert await findings(server.url, origins=("capacitor://localhost", "https://app.example.com")) == {}
        found = await findings(server.url, origins=("ionic://localhost",))
    assert found == {"listed page": "origin_not_listed"}


async def test_pages_of_strangers_are_no_finding_where_they_are_meant(tmp_path: Path) -> None:
    async with running(settings(tmp_path, allowed_origins=("*",))) as server:
        assert await findings(server.url) == {"foreign page": "any_origin"}
        assert await findings(server.url, origins=("*",)) == {}


async def test_a_refused_token_is_named_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    other = token_for(settings(tmp_path, jwt_secret="another-secret-for-tests-0123456789"), None, 0)
    async with running(settings(tmp_path)) as server, proxy(server.url, Wrong(host_changed)) as url:
        assert await findings(url, token=other) == {"token": "token_refused", "page": "host_changed"}


async def test_clocks_that_differ_are_named(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as server:
        found = await findings(server.url, wall=lambda: time.time() - 30)
        assert found == {"clock": "clock_skew", "server clock": "clock_skew"}


async def test_a_server_that_takes_everybody_for_the_proxy_is_named(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as server:
        assert await findings(server.url, nearby=False) == {"client address": "proxy_not_trusted"}


async def test_a_proxy_that_believes_clients_is_named(tmp_path: Path) -> None:
    def believing(request: Passed) -> None:
        request.headers.setdefault("x-forwarded-for", PERSON)

    def appending(request: Passed) -> None:
        said = request.headers.get("x-forwarded-for")
        request.headers["x-forwarded-for"] = PERSON if said is None else f"{said}, {PERSON}"

    async with running(settings(tmp_path, trusted_proxies=("127.0.0.1",))) as server:
        async with proxy(server.url, Wrong(believing)) as url:
            assert await findings(url, nearby=False) == {"client address": "address_forged"}
        async with proxy(server.url, Wrong(appending)) as url:
            assert await findings(url, nearby=False) == {}


# TLS


@asynccontextmanager
async def with_tls(folder: Path, server: Server, **more: Any) -> AsyncIterator[tuple[str, Path, Wrong]]:
    context, ca = certificate(folder, **more)
    wrong = Wrong()
    async with proxy(server.url, wrong, context) as url:
        yield url, ca, wrong


async def test_certificates_that_are_wrong_are_named_and_get_no_token(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as server:
        async with with_tls(tmp_path, server) as (url, ca, _):
            assert await findings(url, ca=str(ca)) == {}
        async with with_tls(tmp_path, server, days=3) as (url, ca, _):
            assert await findings(url, ca=str(ca)) == {"certificate": "certificate_ends_soon"}
        for more, trusted, finding in (
            ({"days": -1}, True, "certificate_expired"),
            ({"name": "192.0.2.1"}, True, "certificate_name"),
            ({}, False, "certificate_untrusted"),
        ):
            async with with_tls(tmp_path, server, **more) as (url, ca, wrong):
                assert await findings(url, ca=str(ca) if trusted else None) == {"certificate": finding}
                assert wrong.seen == []


async def test_http_beside_https_that_loses_the_body_is_named(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as server:
        door = Door(server.url, patience=10, clock=time.perf_counter)
        for status in (301, 308):
            moved = Wrong(own(status, lambda r: True, Location="https://x.example"))
            async with proxy(server.url, moved) as url:
                plain = Door(url, patience=10, clock=time.perf_counter)
                if status == 308:
                    assert await redirect(door, plain) == f"{url} → 308"
                    continue
                with pytest.raises(WrongError) as wrong:
                    await redirect(door, plain)
                assert wrong.value.finding == "redirect_loses_body"


# The reserved tenant


async def test_no_limit_and_no_rest_however_often_it_probes(tmp_path: Path) -> None:
    async with running(settings(tmp_path, daily_limit=1, critical_beyond_limit=False)) as server:
        for _ in range(2):
            assert await findings(server.url) == {}
        answer = await send_request(server.url, "GET", "/api/notifications", token=probe_token())
        assert (answer.json["items"], answer.json["unreadCount"]) == ([], 0)


async def test_the_survey_does_not_count_it(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as server:
        door = Door(server.url, patience=10, clock=time.perf_counter)

        async def look(connection: Any) -> Any:
            line = WebSocketLine(door, connection)
            await line.open()
            await line.join(probe_token())
            admin = make_token(tenant_id=1, user_id=1, role="admin")
            return (await send_request(server.url, "GET", "/api/admin/actors", token=admin)).json

        survey = await over_websocket(door, look)
    assert (survey["users"]["total"], survey["users"]["sockets"]) == (0, 0)


# The command


async def command(*arguments: str, **options: Any) -> Ended:
    return await trio.to_thread.run_sync(functools.partial(run, *arguments, **options))


async def test_the_command_says_one_line_a_check_and_exits_by_what_it_found(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as server:
        done = await command("probe", "--url", server.url)
        assert done.exit_code == 0, done.output
        assert all(line.startswith("ok   ") for line in done.stdout.splitlines())
        async with proxy(server.url, Wrong(host_changed)) as url:
            done = await command("probe", "--url", url)
            assert done.exit_code == 1
            [wrong] = [line for line in done.stdout.splitlines() if line.startswith("FAIL ")]
            assert wrong.startswith("FAIL page: the server's own page is refused")
            assert "(host_changed): came POST with Origin" in wrong
            assert wrong.endswith(f"mend: {FINDINGS['host_changed'].mend}")
            done = await command("probe", "--url", url, "--metrics")
            assert done.exit_code == 1
            samples = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
            assert samples["djactors_probe_success"] == "0"
            assert samples['djactors_probe_check_success{check="page"}'] == "0"
            assert samples['djactors_probe_finding{check="page",finding="host_changed"}'] == "1"
            assert float(samples['djactors_probe_seconds{step="post_client",transport="websocket"}']) > 0
            done = await command("probe", "--url", url, "--json")
            [line] = done.stdout.splitlines()
            assert [one["finding"] for one in json.loads(line)["results"] if "finding" in one] == ["host_changed"]


async def test_the_token_comes_from_an_option_the_environment_a_setting_or_the_secret(tmp_path: Path) -> None:
    token = probe_token()
    async with running(settings(tmp_path)) as server:
        ways: list[tuple[tuple[str, ...], dict[str, str]]] = [
            (("--token", token), {}),
            ((), {"DJACTORS_TOKEN": token}),
            ((), {"DJACTORS_PROBE_TOKEN": token}),
        ]
        for arguments, environment in ways:
            done = await command("probe", "--url", server.url, *arguments, secret=None, environment=environment)
            assert done.exit_code == 0, done.output


def test_what_cannot_be_tried_exits_with_2() -> None:
    assert "--token: is missing" in complaint(run("probe", "--url", "http://127.0.0.1:1", secret=None), 2)
    stranger = make_token(tenant_id=1, user_id=7)
    assert "is not the probe's" in complaint(run("probe", "--url", "http://127.0.0.1:1", "--token", stranger), 2)
    assert "is no JWT" in complaint(run("probe", "--url", "http://127.0.0.1:1", "--token", "a.b.c"), 2)
    assert "is no address" in complaint(run("probe", "--url", "ftp://127.0.0.1"), 2)
    assert "cannot be reached" in complaint(run("probe", "--url", "http://127.0.0.1:1"), 2)
    for scheme in ("https", "http"):
        assert "--ca: no.pem" in complaint(run("probe", "--url", f"{scheme}://127.0.0.1:1", "--ca", "no.pem"), 2)


def test_every_finding_is_proven_here() -> None:
    text = Path(__file__).read_text()
    assert not [name for name in FINDINGS if f'"{name}"' not in text]


# Whoever answers is not believed

OPENED = b'0{"sid":"a","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "

GARBAGE = {
    "no HTTP": b"\xff\xfe\x00\r\n\r\n",
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "an endless head": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
    "a short body": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
    "a large body": b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2_000_000,
    "101": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "a wrong accept": SWITCHED + b"AAAA\r\n\r\n",
    "no UTF-8": b"HTTP/1.1 200 \xff\r\nX: \xff\r\nContent-Length: 2\r\n\r\n\xff\xff",
    "no packet": page(200, "9nothing"),
    "no handshake": page(200, "0[]"),
    "a packet of another session": page(200, "42[]"),
    "a handshake and more": page(200, OPENED.decode() + '\x1e42["notification:new"]'),
    "a CONNECT reply alone": page(200, '40{"sid":"a"}'),
}


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_is_a_finding_and_no_crash(tmp_path: Path, answer: bytes) -> None:
    def before(request: Passed) -> bytes | None:
        return answer if "EIO=4" in request.target else None

    async with running(settings(tmp_path)) as server, proxy(server.url, Wrong(before)) as url:
        found = await findings(url, patience=SHORT)
        assert {"polling", "websocket", "upgrade"} <= set(found)
        async with proxy(server.url, Wrong(lambda _: answer)) as worse:
            assert await findings(worse, patience=SHORT)


FRAMES = {
    "a reserved bit": b"\xf1\x02hi",
    "a masked frame": b"\x81\x82\0\0\0\0hi",
    "no UTF-8": b"\x81\x02\xff\xff",
    "half a frame": b"\x81\x7f\0\0",
    "an endless frame": b"\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff" + b"x" * 100_000,
    "bytes": b"\x82\x02hi",
    "a close of one byte": b"\x88\x01x",
    "a close without a code": b"\x88\x00",
    "no packet": b"\x81\x01x",
    "an event of another shape": b'\x81\x1842["notification:new",1]',
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("at", [0, 1, 2])
async def test_garbage_in_a_websocket_is_a_finding_and_no_crash(tmp_path: Path, frame: bytes, at: int) -> None:
    """It comes in the place of the frame with the number `at`, and of all behind."""
    passed: Counter[int] = Counter()

    def back(websocket: int, data: bytes) -> bytes:
        passed[websocket] += 1
        return frame if passed[websocket] > at else data

    async with running(settings(tmp_path)) as server, proxy(server.url, Wrong(back=back)) as url:
        # Polling, which nothing is wrong with, gets time on a busy machine as well.
        found = await findings(url, patience=2 * SHORT)
    assert set(found) <= {"websocket", "upgrade", "page", "other parser", "foreign page"}
    assert found or at > 1
