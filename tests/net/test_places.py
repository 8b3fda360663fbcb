"""Where a listener listens beside one TCP address: a Unix socket, sockets that it was given, several hosts."""

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from djactors.net import (
    InheritedNetwork,
    InheritedRefused,
    Listener,
    ListenerLimits,
    TrustedProxies,
    UnixNetwork,
    inherited_network,
)
from djactors.net._unix import MAX_UNIX_PATH
from tests.net.applications import GOOD, Echo, listening, receive_response, until
from tests.net.test_binding import answers, needs_ipv6
from tests.net.test_listener import Counts, descriptors


async def unix_answers(path: Path, request: bytes = GOOD) -> int:
    async with await trio.open_unix_socket(path) as client:
        await client.send_all(request)
        status, *_ = await receive_response(client)
        return status


async def test_a_unix_socket_serves_has_its_rights_and_goes_with_the_listener(tmp_path: Path) -> None:
    path, application = tmp_path / "socket", Echo()
    async with listening(application, network=UnixNetwork(path, 0o640)) as listener:
        assert listener.address == (f"unix:{path}", 0)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert await unix_answers(path) == 200
        assert application.requests[-1].peer == "unix"
    assert not path.exists()


async def test_it_runs_again_on_its_path(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with listening(network=UnixNetwork(path, 0o600)) as listener:
        pass
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.run)
        assert await unix_answers(path) == 200
        nursery.cancel_scope.cancel()


async def test_a_stale_socket_is_removed_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
        left_behind.listen()
        before = descriptors()
        for _ in range(2):
            with pytest.raises(OSError, match="somebody listens there"):
                await UnixNetwork(path, 0o600).listen("", 0)
        assert descriptors() == before
    async with listening(network=UnixNetwork(path, 0o600)):
        assert await unix_answers(path) == 200


async def test_a_file_that_is_no_socket_is_never_touched(tmp_path: Path) -> None:
    path, target = tmp_path / "file", tmp_path / "target"
    path.write_text("precious")
    link = tmp_path / "link"
    link.symlink_to(target)
    for each in (path, link, tmp_path):
        with pytest.raises(OSError, match="no socket"):
            await UnixNetwork(each, 0o600).listen("", 0)
    assert path.read_text() == "precious"
    assert link.is_symlink()


async def test_the_file_of_a_successor_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with listening(network=UnixNetwork(path, 0o600)):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as successor:
            successor.bind(str(path))
    assert path.exists()


async def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await UnixNetwork(tmp_path / "nowhere" / "socket", 0o600).listen("", 0)


async def test_a_path_has_as_many_bytes_as_the_system_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    longest = Path("x" * MAX_UNIX_PATH)
    async with listening(network=UnixNetwork(longest, 0o600)):
        assert await unix_answers(longest) == 200
    with pytest.raises(OSError, match="too long"):
        await UnixNetwork("x" * (MAX_UNIX_PATH + 1), 0o600).listen("", 0)


async def test_whoever_comes_by_it_counts_as_one_address(tmp_path: Path) -> None:
    path, counts = tmp_path / "socket", Counts()
    limits = ListenerLimits(max_connections_per_address=1, vital_paths=frozenset())
    network = UnixNetwork(path, 0o600)
    async with listening(network=network, listener_limits=limits, telemetry=counts) as listener:
        first = await trio.open_unix_socket(path)
        await until(lambda: listener.connections == 1)
        assert await unix_answers(path) == 200
        assert counts.counter["refused gave_way"] == 1
        await first.aclose()


async def test_behind_a_trusted_proxy_they_count_by_its_header(tmp_path: Path) -> None:
    path, application = tmp_path / "socket", Echo()
    proxies = TrustedProxies(["unix"])
    forwarded = GOOD.removesuffix(b"\r\n") + b"X-Forwarded-For: 198.51.100.9\r\n\r\n"
    async with listening(application, network=UnixNetwork(path, 0o600), proxies=proxies):
        assert await unix_answers(path, forwarded) == 200
        assert application.requests[-1].peer == "198.51.100.9"
    async with listening(application, network=UnixNetwork(path, 0o600), proxies=TrustedProxies(["127.0.0.1"])):
        assert await unix_answers(path, forwarded) == 200
        assert application.requests[-1].peer == "unix"


FIRST = 200
"""The first descriptor of these tests: 3 and those after it are in use."""


@pytest.fixture
def passed_on() -> Iterator[list[socket.socket]]:
    """Sockets that are passed on as a service manager does: at descriptors that follow each other."""
    sockets: list[socket.socket] = []
    yield sockets
    for each in sockets:
        each.close()


def environment(sockets: list[socket.socket], **more: str) -> dict[str, str]:
    for number, each in enumerate(sockets):
        os.dup2(each.fileno(), FIRST + number)
    return {"LISTEN_FDS": str(len(sockets)), "LISTEN_PID": str(os.getpid()), "PATH": "kept", **more}


def listening_socket(family: socket.AddressFamily, address: object) -> socket.socket:
    found = socket.socket(family)
    found.bind(address)  # type: ignore[arg-type]
    found.listen()
    return found


async def test_sockets_that_were_passed_on_are_served_and_outlive_the_listener(
    tmp_path: Path, passed_on: list[socket.socket]
) -> None:
    path = tmp_path / "socket"
    passed_on += [
        listening_socket(socket.AF_INET, ("127.0.0.1", 0)),
        listening_socket(socket.AF_UNIX, str(path)),
    ]
    variables = environment(passed_on, LISTEN_FDNAMES="web:local")
    network = inherited_network(variables, FIRST)
    assert isinstance(network, InheritedNetwork)
    assert variables == {"PATH": "kept"}
    assert not os.get_inheritable(FIRST)
    address = passed_on[0].getsockname()
    for _ in range(2):  # what the listener lets go can be listened on again
        async with listening(network=network) as listener:
            assert listener.addresses == (address, (f"unix:{path}", 0))
            assert await answers(address)
            assert await unix_answers(path) == 200
    assert path.exists()
    for each in network._sockets:
        each.close()


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"LISTEN_FDS": "1", "LISTEN_PID": "1"},
        {"LISTEN_FDS": "1"},
        {"LISTEN_FDS": "0", "LISTEN_PID": str(os.getpid())},
        {"LISTEN_FDS": "many", "LISTEN_PID": str(os.getpid())},
    ],
)
def test_what_is_not_for_this_process_is_ignored_and_passed_on_to_nobody(variables: dict[str, str]) -> None:
    assert inherited_network(variables, FIRST) is None
    assert variables == {}


def test_what_does_not_listen_is_refused_by_its_name(passed_on: list[socket.socket]) -> None:
    passed_on.append(socket.socket())
    with pytest.raises(InheritedRefused, match=r"200 \('web'\) does not listen for streams: use ListenStream="):
        inherited_network(environment(passed_on, LISTEN_FDNAMES="web"), FIRST)
    variables = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
    with pytest.raises(InheritedRefused, match=r"the descriptor 900 is no socket"):
        inherited_network(variables, 900)


@needs_ipv6
async def test_several_hosts_share_a_port(nursery: trio.Nursery) -> None:
    listener = Listener(Echo(), host="127.0.0.1, ::1,127.0.0.1", on_error=lambda error, peer: None)
    await nursery.start(listener.run)
    (first, port), (second, same) = listener.addresses
    assert (first, second, port) == ("127.0.0.1", "::1", same)
    for address in listener.addresses:
        assert await answers(address)
    await listener.drain(1)


@needs_ipv6
async def test_the_wildcard_of_ipv6_takes_both_families(nursery: trio.Nursery) -> None:
    listener = Listener(Echo(), host="::", on_error=lambda error, peer: None)
    await nursery.start(listener.run)
    [(_, port)] = listener.addresses
    for host in ("127.0.0.1", "::1"):
        assert await answers((host, port))
    await listener.drain(1)
