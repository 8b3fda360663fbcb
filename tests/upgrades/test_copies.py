"""Before an upgrade the file is copied. The copy is whole or not there, and it is the way back."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from djactors.operations.restoring import restore
from djactors.store.errors import MigrationError
from djactors.store.migrations import COMPATIBLE, Schema
from djactors.store.sqlite import keeping, migrate
from djactors.store.upgrading import UpgradeStopped
from djactors.upgrading import NO_COPY, Upgrade, plan
from tests.serving import SECRET
from tests.upgrades import older

MIGRATE = (sys.executable, "-m", "djactors.cli", "migrate", "--database", "inbox.db")
SERVE = (sys.executable, "-m", "djactors.cli", "serve", "--port", "0", "--database", "inbox.db")
NUMBER = 3
COPY = "inbox.db.before-0004"
PAGE = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "inbox.db"
    older.make(made, NUMBER)
    return made


def always() -> bool:
    return True


def run(*before: str, folder: Path, command: tuple[str, ...] = MIGRATE) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("DJACTORS_", "JWT_"))}
    variables |= {"JWT_SECRET": SECRET}
    return subprocess.run([*before, *command], cwd=folder, env=variables, check=False, capture_output=True, text=True)


def upgraded(path: Path, upgrade_backup: str = "") -> Upgrade:
    planned = plan(path, upgrade_backup)
    assert planned is not None
    upgrade = Upgrade(path, planned)
    upgrade.run()
    return upgrade


def test_migrate_says_what_it_will_do_and_where_the_copy_is(path: Path) -> None:
    before = older.read(path)
    done = run(folder=path.parent)
    assert done.returncode == 0, done
    first, second, *rest = done.stdout.splitlines()
    assert re.fullmatch(
        r"inbox\.db is of an older version: it will be upgraded by 0004_people\.sql to \d{4}_\S+ \(\d+ migrations\); "
        r"it has \d+ rows and 0\.\d MiB, so this takes a few seconds",
        first,
    )
    assert second == f"before anything is changed, it is copied to {path.parent / COPY}"
    assert rest[0] == f"copied to {path.parent / COPY}"
    assert rest[-1] == "inbox.db is up to date"
    older.require_all(before, path)
    assert older.read(path.parent / COPY) == before
    assert (path.parent / COPY).stat().st_mode & 0o777 == 0o600


def test_what_needs_no_upgrade_is_not_copied(tmp_path: Path) -> None:
    for _ in range(2):
        done = run(folder=tmp_path)
        assert done.returncode == 0, done
        assert "copied" not in done.stdout
    assert sorted(os.listdir(tmp_path)) == ["inbox.db", "inbox.db.lock"]


@pytest.mark.usefixtures("tracing")
@pytest.mark.parametrize(
    ("call", "number"),
    [
        pytest.param("pwrite64", 3, id="while-copying"),
        pytest.param("fsync", 1, id="before-the-copy-is-synced"),
        pytest.param("rename", 1, id="before-the-copy-has-its-name"),
        pytest.param("fdatasync", 2, id="while-migrating"),
        pytest.param("pwrite64", 150, id="later"),
    ],
)
def test_row_32_killed_in_an_upgrade_with_its_copy(path: Path, call: str, number: int) -> None:
    before = older.read(path)
    killed = run(
        *("strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e"),
        f"inject={call}:signal=KILL:when={number}",
        folder=path.parent,
    )
    assert killed.returncode == -signal.SIGKILL, killed
    done = run(folder=path.parent)
    assert done.returncode == 0, done
    older.require_all(before, path)
    # The copy of the file as it was before anything was changed.
    assert older.read(path.parent / COPY) == before
    assert not list(path.parent.glob("*.partial*"))


@pytest.mark.usefixtures("tracing")
@pytest.mark.parametrize("number", [pytest.param(3, id="while-copying"), pytest.param(150, id="while-migrating")])
def test_ctrl_c_ends_migrate_in_one_line_and_the_same_command_goes_on(path: Path, number: int) -> None:
    before = older.read(path)
    signalled = f"inject=pwrite64:signal=INT:when={number}"
    ended = run("strace", "-f", "-o", "/dev/null", "-e", "trace=pwrite64", "-e", signalled, folder=path.parent)
    assert ended.returncode == 1, ended
    assert ended.stderr.splitlines()[-1] == "djactors: interrupted: nothing is half done; the same command goes on"
    assert run(folder=path.parent).returncode == 0
    older.require_all(before, path)


@pytest.mark.usefixtures("tracing")
def test_a_server_that_upgrades_ends_in_good_order_when_it_is_told_to(path: Path) -> None:
    before = older.read(path)
    # It is told in the middle of the copy, whose sync takes longer than to hear of that.
    told, slow = "inject=pwrite64:signal=TERM:when=3", f"inject=fsync:delay_enter={2 * 10**6}"
    traced = ("-P", f"{path.parent / COPY}.partial", "-e", "trace=pwrite64,fsync", "-e", told, "-e", slow)
    stopped = run("strace", "-f", "-o", "/dev/null", *traced, folder=path.parent, command=SERVE)
    assert stopped.returncode == 0, stopped
    assert "listening" not in stopped.stdout
    # On a busy machine it hears of the signal later.
    assert re.search(r"^djactors: .*stopped (during|before|in) .*: the next start (begins|goes)", stopped.stderr, re.M)
    assert run(folder=path.parent).returncode == 0
    older.require_all(before, path)


def test_starts_that_fail_again_and_again_keep_one_copy(path: Path) -> None:
    target = path.with_name(COPY)
    assert [keeping.keep(path, target, always) for _ in range(3)] == [target] * 3
    migrate.apply(path, Schema(older.frozen(NUMBER + 1)))
    second = keeping.keep(path, target, always)
    assert second == path.with_name(f"{COPY}.2")
    assert keeping.keep(path, target, always) == second


def test_a_copy_that_is_stopped_leaves_nothing(path: Path) -> None:
    before, answers = older.read(path), iter([True, False])
    with pytest.raises(UpgradeStopped):
        keeping.keep(path, path.with_name(COPY), lambda: next(answers, False))
    assert not list(path.parent.glob(f"{COPY}*"))
    assert older.read(path) == before


def test_a_file_that_is_damaged_is_not_upgraded(path: Path) -> None:
    content = path.read_bytes()
    # A page of rows that nothing reads before the copy is checked.
    page = content.index(b"Note 30") // PAGE * PAGE
    path.write_bytes(content[:page] + b"\xff" * PAGE + content[page + PAGE :])
    damaged = path.read_bytes()
    with pytest.raises(MigrationError, match=r"the copy before the upgrade failed: .*damaged"):
        upgraded(path)
    assert path.read_bytes()[100:] == damaged[100:]
    assert not path.with_name(COPY).exists()


def test_the_copy_goes_where_it_is_wanted_or_is_left_out(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copies"
    with pytest.raises(MigrationError, match=rf"{folder}, .* is no folder: create it, or do without it by --upgrade-"):
        plan(path, str(folder))
    folder.mkdir()
    planned = plan(path, NO_COPY)
    assert planned is not None
    assert "no copy is made before: upgrade_backup is none" in list(planned.lines())
    assert upgraded(path, str(folder)).copied_to == folder / COPY


def test_a_disk_without_room_for_the_copy_is_told_before_it_is_full(tmp_path: Path) -> None:
    with pytest.raises(
        MigrationError, match=r"needs \d+ MiB in .*, where \d+ MiB are free: free some space, or name an"
    ):
        keeping.require_room(tmp_path, 2**60)


@pytest.mark.parametrize("number", older.OUTDATED)
def test_the_way_back_to_the_version_before(tmp_path: Path, number: int) -> None:
    """As the README says: the copy is put back by this version, and the version before goes on with it."""
    path, then = tmp_path / "inbox.db", Schema(older.frozen(number))
    older.make(path, number)
    before = older.read(path)
    copied_to = upgraded(path).copied_to
    assert copied_to is not None
    if all(each.name.endswith(COMPATIBLE) for each in older.MIGRATIONS[number:]):
        assert migrate.apply(path, then) == []
    else:
        with pytest.raises(MigrationError, match=r"newer than this program .*: upgrade djactors, or put back the copy"):
            migrate.apply(path, then)
    restore(copied_to, path, lambda _: None)
    assert migrate.apply(path, then) == []
    assert older.read(path) == before
