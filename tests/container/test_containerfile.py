"""The container file: what an engine would make of it. `.ci/container` carries it out in empty roots."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import djactors
from djactors.config import Settings, environment_name
from tests.container.containerfile import Image, Stage, build, image, stages, steps
from tests.operations.commands import EVERY_COMMAND

ROOT = Path(__file__).parent.parent.parent
FILE = Path(djactors.__file__).parent / "container" / "Containerfile"
SETTINGS = {environment_name(name): setting for name, setting in Settings.__dataclass_fields__.items()}


@pytest.fixture(scope="module")
def found() -> list[Stage]:
    return stages(FILE.read_text())


@pytest.fixture
def made(found: list[Stage]) -> Image:
    return image(found[-1])


def test_it_is_a_small_debian_and_nothing_of_the_build_is_left_in_it(found: list[Stage]) -> None:
    build_stage, last = found
    assert build_stage.base == last.base == "docker.io/library/debian:bookworm-slim"
    copied = [step.rest for step in last.steps if step.instruction == "COPY"]
    assert copied == [f"--from={build_stage.name} /opt/djactors /opt/djactors"]
    installing = [step.rest for step in last.steps if "apt-get install" in step.rest]
    assert all("--no-install-recommends" in rest and "rm -rf /var/lib/apt/lists/*" in rest for rest in installing)


def test_its_user_is_not_root_and_is_known_by_number(made: Image, found: list[Stage]) -> None:
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", made.user)
    user, group = made.user.split(":")
    [adding] = [step.rest for step in found[-1].steps if "useradd" in step.rest]
    assert f"--uid {user} --gid {group}" in adding
    assert f"groupadd --gid {group}" in adding


def test_it_has_settings_and_no_secret(made: Image) -> None:
    names = set(made.environment) - {"PATH"}
    assert names == {"DJACTORS_HOST", "SOCKET_PORT", "DJACTORS_DATABASE"}
    assert not [name for name in names if SETTINGS[name].metadata.get("secret")]
    assert Path(made.environment["DJACTORS_DATABASE"]).parent == Path(made.volumes[0]) == Path(made.folder)
    assert made.ports == [made.environment["SOCKET_PORT"]]


def test_its_commands_are_those_that_exist_and_the_server_hears_signals_itself(made: Image) -> None:
    # A list, so that the server is the first process and no shell keeps signals from it.
    program, command = made.command
    assert program == "djactors"
    assert command in EVERY_COMMAND
    assert made.stop_signal == "SIGTERM"
    assert made.health[0] == "python3"
    compile(made.health[2], "health", "exec")


def test_what_it_copies_is_there_and_is_let_through(found: list[Stage]) -> None:
    [*first] = [step.rest.split()[:-1] for step in found[0].steps if step.instruction == "COPY"]
    names = {name for names in first for name in names}
    assert names == {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "migrations", "djactors"}
    assert all((ROOT / name).exists() for name in names)
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == names


def test_nothing_is_passed_over() -> None:
    with pytest.raises(ValueError, match="ADD is not known here"):
        steps("FROM x\nADD a b\n")
    assert [step.rest for step in steps("# no\nRUN one \\\n    && two\n\nRUN three\n")] == ["one && two", "three"]


def test_files_and_folders_are_copied_as_an_engine_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_here(*_: object, **__: object) -> None:
        raise AssertionError("no step runs in this test")

    monkeypatch.setattr(subprocess, "run", not_here)
    context, one, two = (tmp_path / name for name in ("context", "one", "two"))
    (context / "folder").mkdir(parents=True)
    (context / "folder" / "inner").write_text("inner")
    (context / "file").write_text("file")
    one.mkdir()
    two.mkdir()
    file = tmp_path / "Containerfile"
    file.write_text(
        "FROM a AS b\nCOPY file /src/\nCOPY folder /src/folder\nFROM c\nCOPY --from=b /src /made\nUSER 1:1\n"
    )
    assert build(file, context, [one, two]).user == "1:1"
    assert (two / "made" / "file").read_text() == "file"
    assert (two / "made" / "folder" / "inner").read_text() == "inner"
