"""Every command that asks a server takes `--ca`, and then trusts a server whose certificate is of a CA of one's own."""

from __future__ import annotations

import functools
import sqlite3
from contextlib import closing
from pathlib import Path

import click
import pytest
import trio
from click.testing import Result

from djactors.config import Settings
from djactors.domain.events import JobAssigned
from djactors.inbox import schema
from djactors.operations import sending_in
from djactors.operations.asking import NotDoneError
from djactors.outbox import Outbox
from tests.operations.commands import EVERY_COMMAND, run
from tests.serving import SECRET, make_token, serving
from tests.tls import Pair

pytestmark = pytest.mark.usefixtures("own_folder")

WITH_URL = {
    name: command
    for name, command in EVERY_COMMAND.items()
    if any(isinstance(option, click.Option) and option.name == "url" for option in command.params)
}

AT = "2026-01-27T10:30:00.000000Z"
PERSON = ("--tenant", "1", "--user", "7")

COMMANDS = {
    "outbox": (("--database", "app.db", "--once"), "sent: 1, held: 0"),
    "top": (("--once",), "no trouble"),
    "probe": ((), "ok   "),
    "import": (("tenant",), "imported and verified"),
    "sign-out": (PERSON, "user 7 of tenant 1 is signed out"),
    "erase": ((*PERSON, "--yes"), '"userId": 7'),
}
"""Each command, in an order in which all succeed: its arguments, and what it says when it is done."""


def prepare() -> None:
    """An outbox with an event for user 7, and a folder of tenant 2."""
    with closing(sqlite3.connect("app.db")) as connection, connection:
        Outbox().create(connection)
        Outbox().add(connection, JobAssigned(tenant_id=1, job_id=99, assignee_id=7))
    schema.apply("other.db")
    with closing(sqlite3.connect("other.db")) as connection, connection:
        connection.execute("INSERT INTO tenants (id, name, created_at, updated_at) VALUES (2, 'x', ?, ?)", (AT, AT))
    assert run("export", "--json", "tenant", "--tenant", "2", "--database", "other.db").exit_code == 0


async def command(name: str, *arguments: str) -> Result:
    # The server is another process, so that this one may block; and only the main thread takes signals.
    if name == "outbox":
        return run(name, *arguments)
    return await trio.to_thread.run_sync(functools.partial(run, name, *arguments))


def test_every_command_with_a_url_has_the_same_ca() -> None:
    options = [
        [option.get_help_record(click.Context(command)) for option in command.params if option.name == "ca"]
        for command in WITH_URL.values()
    ]
    assert all(each == options[0] and len(each) == 1 for each in options)


def test_a_file_that_cannot_be_read_is_named() -> None:
    prepare()
    for name in WITH_URL:
        # The probe signs a token of its own, because it takes no other.
        token = () if name == "probe" else ("--token", "x")
        given = ("--url", "https://127.0.0.1:1", *token, "--ca", "none.pem")
        arguments = ("nowhere",) if name == "import" else COMMANDS.get(name, ((), ""))[0]
        code = 2 if name == "probe" else 1
        result = run(name, *arguments, *given)
        assert result.exit_code == code, result.output
        assert "--ca: none.pem cannot be read" in result.stderr.splitlines()[-1], name


async def test_each_goes_through_tls_with_a_ca_of_its_own(own_folder: Path) -> None:
    pair = Pair(own_folder)
    prepare()
    async with serving(own_folder, environment=pair.environment) as server:
        assert server.url.startswith("https://")
        for name, (arguments, said) in COMMANDS.items():
            refused = await command(name, *arguments, "--url", server.url)
            assert refused.exit_code == 1, refused.output
            assert "certificate" in refused.output, refused.output
            done = await command(name, *arguments, "--url", server.url, "--ca", str(pair.authority))
            assert done.exit_code == 0, done.output
            assert said in done.stdout
        # This one goes on until somebody stops it, so it gets a token that the server refuses.
        old = make_token(tenant_id=1, user_id=7, ttl=-120)
        done = await command("watch", "--url", server.url, "--token", old, "--ca", str(pair.authority))
        assert "the token has expired" in done.stderr
    assert {*COMMANDS, "watch"} == WITH_URL.keys()


@pytest.mark.parametrize("name", ["erase", "import", "sign-out"])
async def test_a_certificate_that_is_not_trusted_is_told_with_the_mend(own_folder: Path, name: str) -> None:
    prepare()
    async with serving(own_folder, environment=Pair(own_folder).environment) as server:
        said = (await command(name, *COMMANDS[name][0], "--url", server.url)).stderr.splitlines()[-1]
        assert said.endswith("name a CA of your own with --ca")
        assert said.startswith(f"djactors: {server.url} has a certificate that is not trusted (")


async def test_whoever_is_not_trusted_is_asked_once(own_folder: Path) -> None:
    def sleep(seconds: float) -> None:
        raise AssertionError("it was to be asked again")

    async with serving(own_folder, environment=Pair(own_folder).environment) as server:
        tell = functools.partial(
            sending_in.abandon,
            sending_in.Server(Settings(jwt_secret=SECRET), server.url, None, sleep),
            str(own_folder / "tenant"),
            lambda *_: None,
        )
        prepare()
        with pytest.raises(NotDoneError, match="not trusted"):
            await trio.to_thread.run_sync(tell)
