"""How every command ends that is interrupted, or whose output nobody takes."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import trio
from click.testing import CliRunner

from djactors.cli import COMMANDS, main
from djactors.commands.ends import OutputError, Program, ReaderLeftError, endless
from djactors.commands.manual import Manual
from djactors.domain.events import NotificationRequested, UserUpserted
from tests.engines import open_connection
from tests.inbox.desk import Desk
from tests.operations.commands import EVERY_COMMAND, SECRET, complaint, run
from tests.operations.test_erasing import fill
from tests.serving import serving

PATIENCE = 60
FULL = "djactors: standard output cannot be written: No space left on device\n"
EACH = pytest.mark.parametrize("command", EVERY_COMMAND.values(), ids=lambda command: str(command.name))

PRINTING = [
    ("--help",),
    ("--version",),
    *((name, "--help") for name in EVERY_COMMAND),
    ("token", "--role", "service"),
    ("types",),
    ("openapi",),
    ("asyncapi",),
    ("completion", "bash"),
    ("monitoring", "--alerts"),
    ("migrate",),
    ("migrate", "--check"),
    ("check", "--database", "app.db"),
    ("backup", "copy.db", "--database", "app.db"),
    ("sign-out", "--tenant", "1", "--user", "1", "--database", "app.db"),
    ("outbox", "--held", "--create", "--database", "app.db"),
]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(own_folder: Path) -> None:
    pass


def writing_to(file: int, *arguments: str) -> tuple[int, str]:
    """The exit code and the standard error of a command whose standard output is this file."""
    done = subprocess.run(
        [sys.executable, "-m", "djactors.cli", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=file,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JWT_SECRET": SECRET},
        check=False,
        timeout=PATIENCE,
    )
    return done.returncode, done.stderr


def full_disk() -> io.TextIOWrapper:
    return os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")


def unread_pipe() -> io.TextIOWrapper:
    left, stdout = os.pipe()
    os.close(left)
    return os.fdopen(stdout, "w")


def ended(arguments: tuple[str, ...], stdout: io.TextIOWrapper, capsys: pytest.CaptureFixture[str]) -> tuple[Any, str]:
    """The same in this process. Closing the file complains of what is left in it, as Python does at its end."""
    if "app.db" in arguments:
        assert run("migrate", "--database", "app.db").exit_code == 0
    with stdout, pytest.MonkeyPatch.context() as patch:
        patch.setenv("JWT_SECRET", SECRET)
        patch.setattr(os, "nice", lambda _: 0)
        patch.setattr(sys, "stdout", stdout)
        with pytest.raises(SystemExit) as end:
            main(arguments, prog_name="djactors")
        assert sys.stdout is stdout
    return end.value.code, log_apart(capsys.readouterr().err)


def log_apart(said: str) -> str:
    """What was said on standard error beside the log and the progress of a copy."""
    return "".join(line for line in said.splitlines(True) if not line.startswith(("{", "copying: ")))


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_a_full_disk_behind_standard_output_is_one_line(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(arguments, full_disk(), capsys) == (1, FULL)


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_a_reader_who_has_enough_ends_a_command_in_silence(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(arguments, unread_pipe(), capsys) == (1, "")


def test_so_does_what_a_shell_asks_for_to_complete_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_DJACTORS_COMPLETE", "bash_source")
    assert ended((), unread_pipe(), capsys) == (1, "")


def test_letters_that_standard_output_does_not_have_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("migrate", "--database", "app.db").exit_code == 0
    with open_connection(Path("app.db")) as connection:
        desk = Desk(connection)
        desk.publish(UserUpserted(tenant_id=1, user_id=7, name="Ann", role="manager"))
        note = NotificationRequested(
            tenant_id=1, user_id=7, notification_type="note", priority="LOW", title="มะลิ is done"
        )
        desk.publish(note)
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    with Path("told").open("wb") as told:
        arguments = ("inbox", "--tenant", "1", "--user", "7", "--database", "app.db")
        assert writing_to(told.fileno(), *arguments) == (0, "")
    assert b"\\u0e21\\u0e30\\u0e25\\u0e34 is done" in Path("told").read_bytes()


@pytest.mark.parametrize("arguments", [("openapi",), ("top", "--url", "http://127.0.0.1:1", "--token", "x")])
def test_a_command_without_standard_output_works_in_silence(arguments: tuple[str, ...]) -> None:
    command = " ".join(map(shlex.quote, (sys.executable, "-m", "djactors.cli", *arguments)))
    done = subprocess.run(
        ["sh", "-c", f"{command} >&-"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
        timeout=PATIENCE, env={**os.environ, "JWT_SECRET": SECRET},
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 1


def test_the_receipt_of_an_erasure_is_kept_whatever_becomes_of_standard_output(tmp_path: Path) -> None:
    database = tmp_path / "inbox.db"
    assert run("migrate", "--database", str(database)).exit_code == 0
    fill(database)
    who = ("--tenant", "1", "--user", "7", "--database", str(database))
    with full_disk() as full:
        assert writing_to(full.fileno(), "erase", *who, "--yes", "--receipt", "receipt.json")[0] == 1
    assert json.loads(Path("receipt.json").read_text())["erased"]["users"] == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_python_adds_nothing_when_it_ends(unbuffered: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with full_disk() as full, unread_pipe() as pipe:
        assert writing_to(full.fileno(), "openapi") == (1, FULL)
        assert writing_to(pipe.fileno(), "openapi") == (1, "")


async def test_what_is_shown_for_as_long_as_somebody_reads_ends_well_with_the_reader(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        watch = ("watch", "--url", server.url, "--tenant", "1", "--user", "2")
        for arguments in (watch, (*watch, "--json"), ("demo", "--port", "0")):
            with full_disk() as full, unread_pipe() as pipe:
                code, said = await trio.to_thread.run_sync(writing_to, full.fileno(), *arguments)
                assert (code, log_apart(said)) == (1, FULL)
                code, said = await trio.to_thread.run_sync(writing_to, pipe.fileno(), *arguments)
                assert (code, log_apart(said)) == (0, "")


@EACH
@pytest.mark.parametrize("error", [KeyboardInterrupt(), BaseExceptionGroup("", [KeyboardInterrupt()])])
def test_an_interrupted_command_says_so_in_one_line(
    command: click.Command, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: click.Context) -> None:
        raise error

    assert isinstance(command, Manual)
    monkeypatch.setattr(command, "invoke", interrupted)
    [line, *_] = re.findall(r"djactors ([^>)]*)", command.examples[0][0])
    more = ["--yes"] if command.name == "erase" else []
    assert complaint(run(*shlex.split(line), *more)) == "djactors: interrupted"


def test_a_command_that_is_interrupted_while_it_is_imported_says_so_too(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_folder / "slow_to_import.py").write_text("raise KeyboardInterrupt")
    monkeypatch.syspath_prepend(own_folder)
    program = Program(name="djactors", places={"late": "slow_to_import:late"})
    result = CliRunner().invoke(program, ["late"])
    assert complaint(result) == "djactors: interrupted"


def test_every_command_is_called_by_the_name_that_it_has() -> None:
    assert {name: command.name for name, command in EVERY_COMMAND.items()} == {name: name for name in COMMANDS}


def test_a_command_imports_what_it_needs_alone() -> None:
    code = "import sys; import djactors.cli; print([name for name in sys.modules if 'trio' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert done.stdout == "[]\n"


def test_a_question_that_is_not_answered_with_yes_is_one_line() -> None:
    said = complaint(run("erase", "--tenant", "1", "--user", "2", "--database", "app.db"))
    assert said == "djactors: nothing was done, because it was not confirmed"


async def test_ctrl_c_is_the_ordinary_end_of_watch(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        for more in ([], ["--json"]):
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "djactors.cli",
                    "watch",
                    "--url",
                    server.url,
                    "--tenant",
                    "1",
                    "--user",
                    "2",
                    *more,
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "JWT_SECRET": SECRET},
            )
            try:
                assert process.stdout is not None
                with trio.fail_after(PATIENCE):
                    assert "connect" in await trio.to_thread.run_sync(process.stdout.readline, abandon_on_cancel=True)
                    process.send_signal(signal.SIGINT)
                    _, said = await trio.to_thread.run_sync(process.communicate, abandon_on_cancel=True)
            finally:
                process.kill()
            assert (process.returncode, said) == (0, "")


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        ReaderLeftError("nobody reads"),
        BaseExceptionGroup("", [KeyboardInterrupt()]),
        BaseExceptionGroup("", [ExceptionGroup("", [ReaderLeftError("nobody reads")])]),
    ],
)
def test_what_is_endless_ends_well_when_it_is_interrupted_or_not_read_any_more(error: BaseException) -> None:
    with endless():
        raise error


@pytest.mark.parametrize("error", [OutputError("it is full"), OSError(errno.EPIPE, "a socket"), SystemExit(1)])
def test_what_is_endless_fails_of_everything_else(error: BaseException) -> None:
    with pytest.raises(type(error)), endless():
        raise error
