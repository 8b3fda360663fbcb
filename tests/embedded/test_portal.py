"""A server in a thread: it starts, answers every thread and task, stops, fails, is forked, and its host hears of it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

import djactors
from djactors.app import Server, ServerFailed
from djactors.config import SettingError, Settings
from djactors.domain.commands import Published
from djactors.domain.errors import Refused
from djactors.domain.events import DomainEvent, JobAssigned, NotificationRequested
from djactors.domain.notification_types import NotificationType
from djactors.embedded import (
    MAX_CALLS,
    Portal,
    PortalBusy,
    PortalError,
    PortalStopped,
    PortalTimeout,
)
from djactors.kernel import AskTimeout
from djactors.store.errors import DatabaseLocked, StoreError
from djactors.telemetry import Telemetry, make_logger
from tests.project.examples import example_of
from tests.serving import SECRET, make_token, send_request

PATIENCE = 30
README = Path(__file__).parent.parent.parent / "README.md"


def event(title: str = "a", **more: Any) -> DomainEvent:
    return NotificationRequested(tenant_id=1, user_id=2, notification_type="news", priority="LOW", title=title, **more)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Portal]:
    """Makes portals to one database."""

    def portal(*, start_timeout: float = PATIENCE, **more: Any) -> Portal:
        settings = Settings(
            **{"jwt_secret": SECRET, "database": str(tmp_path / "inbox.db"), "port": 0, "drain_timeout": 1.0, **more}
        )
        return djactors.portal(
            settings, telemetry=Telemetry(make_logger("json", "critical")), start_timeout=start_timeout
        )

    return portal


@pytest.fixture
def portal(make: Callable[..., Portal]) -> Iterator[Portal]:
    with make() as running:
        yield running


class Gate:
    """Keeps a server's `publish` from answering until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered = threading.Semaphore(0)
        self._opened = threading.Event()
        publish = Server.publish

        async def wait(server: Server, *args: Any, **more: Any) -> Published:
            self.entered.release()
            while not self._opened.is_set():
                await trio.sleep(0.001)
            return await publish(server, *args, **more)

        monkeypatch.setattr(Server, "publish", wait)

    def open(self) -> None:
        self._opened.set()


def test_many_threads_publish_at_once_and_each_is_answered(portal: Portal) -> None:
    with ThreadPoolExecutor(16) as threads:
        published = list(threads.map(portal.publish, [event(str(number)) for number in range(90)]))
    assert len({one.event_id for one in published}) == 90
    page = trio.run(get, portal.url, "/api/notifications/unread-count")
    assert page["count"] == 90


async def get(url: str, path: str) -> Any:
    return (await send_request(url, "GET", path, token=make_token(tenant_id=1, user_id=2))).json


def test_what_is_refused_is_refused_to_its_caller_alone(portal: Portal) -> None:
    first = portal.publish(event(id="k"))
    assert portal.publish(event(id="k")).repeated
    with pytest.raises(Refused, match="title"):
        portal.publish(event(""))
    with pytest.raises(Refused) as refused:
        portal.publish(event("b", id="k"))
    assert refused.value.code == "idempotency_key_reused"
    assert portal.publish(event()).event_id > first.event_id


def test_more_events_than_one_commit_takes_are_published_together(make: Callable[..., Portal]) -> None:
    with make(commit_batch=10) as portal:
        outcomes = portal.publish_all([event(""), *(event(str(number)) for number in range(24))])
        assert isinstance(outcomes[0], Refused)
        numbers = [outcome.event_id for outcome in outcomes[1:] if isinstance(outcome, Published)]
        assert numbers == sorted(numbers)
        assert len(numbers) == 24
        assert portal.publish_all([]) == []


def test_a_program_has_types_of_its_own(tmp_path: Path) -> None:
    types = [NotificationType("job_assigned", title="{job} is yours")]
    settings = {"database": str(tmp_path / "inbox.db"), "port": 0, "jwt_secret": SECRET, "drain_timeout": 0}
    with djactors.portal(settings, types=types) as portal:
        portal.publish(JobAssigned(tenant_id=1, job_id=5, assignee_id=2))
        [item] = trio.run(get, portal.url, "/api/notifications")["items"]
    assert item["title"] == "Job 5 is yours"


def test_once_the_server_cannot_take_a_part_the_rest_is_not_asked_for(
    make: Callable[..., Portal], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_all = Server.publish_all
    asked: list[int] = []

    async def fail_at_last(server: Server, events: Any) -> Any:
        asked.append(len(events))
        if len(asked) == 2:
            raise AskTimeout("later")
        return await publish_all(server, events)

    monkeypatch.setattr(Server, "publish_all", fail_at_last)
    with make(commit_batch=2) as portal:
        outcomes = portal.publish_all([event(str(number)) for number in range(7)])
    assert [type(outcome) for outcome in outcomes] == [Published] * 2 + [AskTimeout] * 5
    assert asked == [2, 2]


def test_the_host_keeps_its_signals(make: Callable[..., Portal]) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with make():
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
        descriptor = signal.set_wakeup_fd(-1)
        assert descriptor == -1


def test_what_keeps_it_from_starting_is_raised_where_it_starts(make: Callable[..., Portal], portal: Portal) -> None:
    with pytest.raises(DatabaseLocked, match=f"process {os.getpid()}"), make():
        raise AssertionError("it has started")
    with pytest.raises(FileNotFoundError):
        make(database="/nowhere/inbox.db").start()
    port = int(portal.url.rpartition(":")[2])
    with pytest.raises(ServerFailed, match="cannot listen"):
        make(database=f"{portal.settings.database}2", port=port).start()
    with pytest.raises(SettingError, match="JWT_SECRET"):
        make(jwt_secret="").start()
    with pytest.raises(SettingError, match="datebase"):
        djactors.portal({"datebase": "inbox.db"})
    assert threading.active_count() == len({thread.ident for thread in threading.enumerate()})
    portal.publish(event())


def test_a_start_that_takes_too_long_is_given_up(make: Callable[..., Portal], monkeypatch: pytest.MonkeyPatch) -> None:
    run = Server.run

    async def slowly(server: Server, **more: Any) -> None:
        while not server._stopping.is_set():
            await trio.sleep(0.001)
        await run(server, **more)

    monkeypatch.setattr(Server, "run", slowly)
    slow = make(start_timeout=0.01)
    with pytest.raises(PortalTimeout, match="longer start_timeout"):
        slow.start()
    with pytest.raises(PortalStopped, match="was stopped"):
        slow.publish(event())
    monkeypatch.undo()
    make().start().stop()


def test_a_portal_is_used_between_its_start_and_its_stop(make: Callable[..., Portal]) -> None:
    portal = make()
    with pytest.raises(PortalStopped, match="was not started"):
        portal.publish(event())
    with pytest.raises(PortalStopped, match="was not started"):
        _ = portal.url
    portal.stop()
    portal.start()
    with pytest.raises(PortalError, match="started already"):
        portal.start()
    portal.stop()
    portal.stop()
    assert not portal.is_running
    with pytest.raises(PortalStopped, match="the portal was stopped"):
        portal.publish(event())


def test_the_end_waits_for_the_calls(make: Callable[..., Portal], monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    with ThreadPoolExecutor(2) as threads:
        portal = make().start()
        waiting = threads.submit(portal.publish, event())
        gate.entered.acquire()
        stopping = threads.submit(portal.stop)
        while portal.is_running:
            pass
        with pytest.raises(PortalStopped, match="was stopped"):
            portal.publish(event("too late"))
        gate.open()
        assert waiting.result(PATIENCE).event_id
        stopping.result(PATIENCE)


def break_the_store(portal: Portal) -> None:
    """Have the server give up: the file of its database is gone."""
    Path(portal.settings.database).unlink()
    with suppress(StoreError, PortalStopped):
        portal.publish(event())
    while portal.is_running:
        pass


def end(error: Exception) -> None:
    """End a `with` as the program's own mistake does."""
    raise error


def until_it_gives_up(portal: Portal) -> None:
    """Use a portal whose server gives up."""
    with portal:
        break_the_store(portal)
        with pytest.raises(PortalStopped, match="the server has stopped: the database failed"):
            portal.publish(event())
        assert isinstance(portal.failure, ServerFailed)


def test_a_server_that_has_to_give_up_is_told_of_to_every_caller_and_at_the_end(make: Callable[..., Portal]) -> None:
    portal = make()
    with pytest.raises(PortalStopped, match="the database failed") as stopped:
        until_it_gives_up(portal)
    assert stopped.value.__cause__ is portal.failure


def test_what_the_program_met_with_comes_before_what_the_server_did(make: Callable[..., Portal]) -> None:
    def program() -> None:
        with make() as portal:
            break_the_store(portal)
            end(ZeroDivisionError())

    with pytest.raises(ZeroDivisionError) as error:
        program()
    assert error.value.__notes__[0].startswith("djactors: the server has stopped: the database failed")


def test_whoever_waits_when_the_server_crashes_is_told(
    make: Callable[..., Portal], monkeypatch: pytest.MonkeyPatch
) -> None:
    is_waiting = threading.Event()
    gate = Gate(monkeypatch)

    async def crash(server: Server, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        while not is_waiting.is_set():
            await trio.sleep(0.001)
        raise SystemError("a fault of ours")

    monkeypatch.setattr(Server, "run", crash)
    portal = make().start()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(portal.publish, event())
        gate.entered.acquire()
        is_waiting.set()
        with pytest.raises(PortalStopped, match="the server has stopped: a fault of ours"):
            waiting.result(PATIENCE)
    with pytest.raises(PortalStopped, match="a fault of ours"):
        portal.stop()


@pytest.mark.parametrize("end", [KeyboardInterrupt("a signal"), trio.TrioInternalError("a fault of Trio")])
def test_whatever_ends_the_thread_ends_the_calls(
    make: Callable[..., Portal], monkeypatch: pytest.MonkeyPatch, end: BaseException
) -> None:
    async def die(*_: Any, **__: Any) -> Published:
        if isinstance(end, Exception):

            def within(_: object) -> trio.lowlevel.Abort:
                raise end

            # Trio gives up where an abort function fails.
            with trio.CancelScope(deadline=trio.current_time()):
                await trio.lowlevel.wait_task_rescheduled(within)
        raise end

    monkeypatch.setattr(Server, "publish", die)
    portal = make().start()
    with ThreadPoolExecutor(1) as threads, pytest.raises(PortalStopped, match="the server has stopped"):
        threads.submit(portal.publish, event()).result(PATIENCE)
    with pytest.raises(PortalStopped):
        portal.stop()


def test_calls_are_bounded_in_number(make: Callable[..., Portal], monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    with make() as portal:
        waiting = [portal._submit(event(str(number)), None) for number in range(MAX_CALLS)]
        with pytest.raises(PortalBusy, match="publish_all"):
            portal.publish(event())
        gate.open()
        assert all(future.result(PATIENCE) for future in waiting)
        portal.publish(event())


def test_a_server_that_hangs_is_not_waited_for_for_ever(
    make: Callable[..., Portal], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    monkeypatch.setattr("djactors.embedded._portal.ANSWER_SECONDS", 0.0)
    with make(command_timeout=0.1) as portal:
        with pytest.raises(PortalTimeout, match="repeat it with the same id"):
            portal.publish(event(id="k"))
        with pytest.raises(PortalTimeout, match="repeat it with the same id"):
            asyncio.run(portal.asynchronous.publish(event("b")))
        gate.open()


def test_the_servers_own_thread_is_refused(portal: Portal) -> None:
    async def inside() -> None:
        portal.publish(event())

    async def stop_inside() -> None:
        portal.stop()

    with pytest.raises(PortalError, match="in the server's own thread"):
        portal._thread.submit(inside).result(PATIENCE)
    with pytest.raises(PortalError, match="from the server's own thread"):
        portal._thread.submit(stop_inside).result(PATIENCE)


# Under asyncio


def test_under_asyncio_nothing_waits_for_it(make: Callable[..., Portal], monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)

    async def main() -> None:
        async with make() as portal:
            assert portal.is_running
            assert portal.failure is None
            tasks = [asyncio.create_task(portal.publish(event(str(number)))) for number in range(50)]
            while not gate.entered.acquire(blocking=False):
                await asyncio.sleep(0)
            assert not any(task.done() for task in tasks)
            gate.open()
            published = await asyncio.gather(*tasks)
            assert len({one.event_id for one in published}) == 50
            outcomes = await portal.publish_all([event("x"), event("")])
            assert [type(outcome) for outcome in outcomes] == [Published, Refused]
            with pytest.raises(Refused):
                await portal.publish(event(""))
            assert portal.url.startswith("http://127.0.0.1:")

    asyncio.run(main())


def test_a_task_that_is_cancelled_leaves_the_others_alone(
    make: Callable[..., Portal], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)

    async def main() -> None:
        async with make() as portal:
            first, second = (asyncio.create_task(portal.publish(event(title))) for title in "ab")
            while not gate.entered.acquire(blocking=False):
                await asyncio.sleep(0)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            gate.open()
            assert (await second).event_id

    asyncio.run(main(), debug=True)


def test_a_start_fails_under_asyncio_as_elsewhere(make: Callable[..., Portal], portal: Portal) -> None:
    async def main() -> None:
        with pytest.raises(DatabaseLocked):
            async with make():
                raise AssertionError("it has started")

    asyncio.run(main())


def test_a_start_that_is_cancelled_leaves_nothing(make: Callable[..., Portal]) -> None:
    async def main() -> None:
        entering = asyncio.create_task(make().__aenter__())
        await asyncio.sleep(0)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering

    asyncio.run(main())
    make().start().stop()


def test_a_failure_comes_out_of_the_async_with(make: Callable[..., Portal]) -> None:
    portal = make()

    async def main() -> None:
        async with portal:
            break_the_store(portal)

    with pytest.raises(PortalStopped, match="the database failed"):
        asyncio.run(main())


async def test_a_trio_program_is_told_of_the_server(make: Callable[..., Portal]) -> None:
    with pytest.raises(PortalError, match=r"a Trio program runs djactors\.app\.Server"):
        async with make():
            pass


# Processes


FORKED = """
import os, sys, threading
import djactors
from djactors.domain.events import NotificationRequested
from djactors.embedded import PortalForked
from djactors.store.errors import DatabaseLocked, StoreError

event = NotificationRequested(tenant_id=1, user_id=2, notification_type="news", priority="LOW", title="a")
settings = {"database": sys.argv[1], "port": 0, "jwt_secret": sys.argv[2], "drain_timeout": 0}
later = djactors.portal(settings | {"database": sys.argv[1] + "2"})
child = 0
try:
    with djactors.portal(settings) as portal:
        child = os.fork()
        if child == 0:
            for call in (lambda: portal.publish(event), lambda: portal.url, portal.start):
                try:
                    call()
                except PortalForked as error:
                    print(error)
            assert not portal.is_running
            try:
                djactors.portal(settings).start()
            except DatabaseLocked as error:
                print(error)
            later.start().publish(event)
            later.stop()
        else:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            print(portal.publish(event).event_id)
finally:
    sys.stdout.flush()
"""


def run_program(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments, SECRET],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_a_forked_child_is_refused_and_starts_its_own(tmp_path: Path) -> None:
    done = run_program(FORKED, str(tmp_path / "inbox.db"))
    assert done.returncode == 0, done.stderr
    *refusals, locked, number = done.stdout.splitlines()
    assert len(refusals) == 3
    assert all("start the portal after the fork, with gunicorn in post_fork" in line for line in refusals)
    assert "is in use by process" in locked
    assert number == "1"


FORGETFUL = """
import sys
import djactors
from djactors.domain.events import NotificationRequested

portal = djactors.portal({"database": sys.argv[1], "port": 0, "jwt_secret": sys.argv[2], "drain_timeout": 0}).start()
news = NotificationRequested(tenant_id=1, user_id=2, notification_type="news", priority="LOW", title="a")
print(portal.publish(news).event_id)
"""


def test_a_program_that_forgets_to_stop_it_ends_all_the_same(tmp_path: Path) -> None:
    done = run_program(FORGETFUL, str(tmp_path / "inbox.db"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
    # It was stopped in good order: the log was moved into the database.
    assert not (tmp_path / "inbox.db-wal").exists()
    with closing(sqlite3.connect(tmp_path / "inbox.db")) as connection:
        assert connection.execute("SELECT count(*) FROM notifications").fetchone() == (1,)


def test_the_example_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed: list[str] = []
    program: dict[str, Any] = {"__name__": "example", "print": printed.append}
    exec(compile(example_of("djactors.embedded"), "<example>", "exec"), program)
    asyncio.run(program["main"]())
    assert msgspec.json.decode(printed[0])["notifications"] == [{"id": 1, "userId": 2, "type": "welcome"}]


def test_the_guide_of_the_readme_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [guide] = re.findall(r"^```python\n(import djactors\n.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JWT_SECRET", SECRET)
    printed: list[Any] = []
    exec(compile(guide, "<guide>", "exec"), {"__name__": "__main__", "print": lambda *words: printed.append(words)})
    [(url, number)] = printed
    assert url.startswith("http://127.0.0.1:")
    assert number == 1
