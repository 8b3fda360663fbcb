"""A served process for browser tests, driven without a loop: Playwright's own is in the way of any other.

Rules: one server serves many tests, each of which works in a tenant of its own (`Studio`), so that none sees the jobs
or people of another. A test that kills or configures a server has one of its own.
"""

from __future__ import annotations

import itertools
import json
import os
import selectors
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from tests.serving import ANSWER_SECONDS, SECRET, SERVE, START_SECONDS, STOP_SECONDS, make_token, service_token

LISTENING = "listening on "

ALICE, BOB, NOK, CAROL, ADA = 11, 12, 13, 14, 15
"""Who asks for jobs, who does them, who approves them, a colleague, and who looks after the installation."""

PEOPLE = {
    ALICE: ("Alice", "user"),
    BOB: ("Bob", "user"),
    NOK: ("Nok", "manager"),
    CAROL: ("Carol", "user"),
    ADA: ("Ada", "admin"),
}

_tenants = itertools.count(1)


class Site:
    """`djactors serve` on a database of its own. `url` stays the same when it is started again."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.errors = folder / "errors.log"
        self.url = ""
        self._folder = folder
        self._settings = dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens; again on the port that it had."""
        port = self.url.rpartition(":")[2] or "0"
        variables = {
            **os.environ,
            "JWT_SECRET": SECRET,
            "SOCKET_PORT": port,
            "DJACTORS_DATABASE": str(self._folder / "inbox.db"),
            **self._settings,
        }
        with self.errors.open("ab") as log:
            self._process = subprocess.Popen(SERVE, stdout=subprocess.PIPE, stderr=log, env=variables, cwd=self._folder)
        assert self._process.stdout is not None
        self.url = self._listening(self._process.stdout)

    def _listening(self, output: Any) -> str:
        stream: BinaryIO = output
        text = b""
        deadline = time.monotonic() + START_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while selector.select(max(0.0, deadline - time.monotonic())):
                chunk = os.read(stream.fileno(), 1 << 16)
                text += chunk
                for line in text.decode().split("\n")[:-1]:
                    if line.startswith(LISTENING):
                        return line.removeprefix(LISTENING)
                if not chunk:
                    break
        raise AssertionError(f"the server did not start: {text!r} {self.errors.read_text()[-2000:]}")

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(STOP_SECONDS)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None

    def request(self, method: str, path: str, token: str, body: Any = None) -> Any:
        """One request with a JSON answer; raises `AssertionError` for one that is refused."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            with refused:
                raise AssertionError(f"{method} {path}: {refused.code} {refused.read()!r}") from None


@contextmanager
def running_site(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Site]:
    """A started site; whatever happens, its process is gone afterwards."""
    site = Site(folder, settings)
    try:
        site.start()
        yield site
    finally:
        site.kill()


class Studio:
    """One tenant: its people, and what its backend and its people do without a browser."""

    def __init__(self, site: Site, names: Mapping[int, str] | None = None) -> None:
        """Introduces the people; `names` are other names for some of them."""
        self.site = site
        self.tenant = next(_tenants)
        self.names = {user: name for user, (name, _) in PEOPLE.items()} | dict(names or {})
        self.publish("tenant.upserted", name=f"Studio {self.tenant}")
        for user, (_, role) in PEOPLE.items():
            self.publish("user.upserted", userId=self.user_id(user), name=self.names[user], role=role)

    def user_id(self, user: int) -> int:
        """A person's id: no two tenants share one."""
        return self.tenant * 100 + user

    def token(self, user: int, **claims: Any) -> str:
        return make_token(
            **{
                "tenant_id": self.tenant,
                "user_id": self.user_id(user),
                "role": PEOPLE[user][1],
                "name": self.names[user],
                **claims,
            }
        )

    def publish(self, kind: str, **fields: Any) -> Any:
        """One domain event, as the backend posts it."""
        event = {"type": kind, "tenantId": self.tenant, **fields}
        return self.site.request("POST", "/api/events", service_token(), event)

    def notify(self, user: int, title: str, priority: str = "LOW", **fields: Any) -> int:
        """Notify one person of something; returns the notification's id."""
        answer = self.publish(
            "notification.requested",
            userId=self.user_id(user),
            notificationType="note",
            priority=priority,
            title=title,
            **fields,
        )
        return int(answer["notifications"][0]["id"])

    def move(self, user: int, notification_id: int, word: str, **body: Any) -> Any:
        """What a person does to a notification on another device: `archive`, `snooze` with `until`, and so on."""
        path = f"/api/notifications/{notification_id}/{word}"
        return self.site.request("POST", path, self.token(user), body or None)

    def act(self, user: int, path: str = "", **body: Any) -> Any:
        """What a person does to a job over HTTP; returns the job. People are named by their constants."""
        named = {key: self.user_id(value) if key in _PARTS else value for key, value in body.items()}
        return self.site.request("POST", f"/api/jobs{path}", self.token(user), named)


_PARTS = ("assigneeId", "approverId", "managerId", "requesterId", "userId")
