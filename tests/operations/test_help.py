"""The help of each command has the parts of a man page, and shells complete commands and options."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from djactors.commands.describing import SHELLS
from djactors.commands.manual import EVERY, Manual
from djactors.config import Settings, environment_name
from tests.operations.commands import EVERY_COMMAND, run

COMMANDS = pytest.mark.parametrize("command", EVERY_COMMAND.values(), ids=lambda command: str(command.name))
SHELL_SECONDS = 60


@COMMANDS
def test_every_help_has_the_parts_of_a_man_page(command: click.Command) -> None:
    assert isinstance(command, Manual)
    text = run(str(command.name), "--help", secret=None).stdout
    parts = re.split(r"^(\w[\w ]*):$", text, flags=re.MULTILINE)
    assert parts[1::2] == ["Options", "Examples", "Exit codes", "Settings"]
    [usage, options, examples, exits, settings] = parts[0::2]
    # What it does: a first line that the list of commands shows, and then what else is to be known.
    _, does, *more = (part.strip() for part in usage.split("\n\n"))
    assert does.endswith(".")
    assert any(more)
    assert "--help" in options
    assert examples.count("djactors ") >= 1
    assert re.findall(r"^  (\d)  \S", exits, re.MULTILINE) == ["0", "1", "2"]
    assert settings.strip()


@COMMANDS
def test_every_setting_that_a_help_names_exists_and_those_of_its_options_are_there(command: Manual) -> None:
    names = set(Settings.__dataclass_fields__)
    assert {*command.settings} <= names | {EVERY}
    # The database of `outbox` is the application's own, and has a variable of its own.
    of_options = {str(option.name) for option in command.params if option.envvar is None} & names
    assert of_options <= {*command.settings} or EVERY in command.settings
    variables = {str(option.envvar) for option in command.params if isinstance(option, click.Option) and option.envvar}
    assert variables == set(command.variables)
    text = run(str(command.name), "--help", secret=None).stdout
    assert all(environment_name(name) in text for name in command.settings if name != EVERY)


EXAMPLES = [
    pytest.param(command, example, id=example)
    for command in EVERY_COMMAND.values()
    if isinstance(command, Manual)
    for example, _ in command.examples
]


@pytest.mark.parametrize(("command", "example"), EXAMPLES)
def test_every_example_is_a_command_line_that_is_taken(
    command: click.Command, example: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [line] = re.findall(r"djactors ([^>)]*)", example)[:1]
    name, *arguments = shlex.split(line)
    assert name == command.name
    if "DJACTORS_TOKEN=" in example:
        monkeypatch.setenv("DJACTORS_TOKEN", "a token")
    # The questions before something is erased are for whoever runs it.
    command.make_context(name, arguments, resilient_parsing=name == "erase")


@pytest.mark.parametrize("name", ["openapi", "asyncapi"])
def test_a_description_is_printed_without_a_server_or_settings(name: str) -> None:
    printed = run(name, secret=None)
    assert printed.exit_code == 0
    assert printed.stdout.startswith(f'{{\n "{name}": "3.')


@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_shell_is_given_is_for_this_program(shell: str) -> None:
    script = run("completion", shell, secret=None).stdout
    assert "_DJACTORS_COMPLETE" in script
    if shutil.which(shell) is not None:
        checked = subprocess.run([shell, "-n"], input=script, text=True, capture_output=True, timeout=SHELL_SECONDS)
        assert (checked.returncode, checked.stderr) == (0, "")


def test_another_shell_is_a_wrong_command_line() -> None:
    assert run("completion", "tcsh", secret=None).exit_code == 2


BASH = """
eval "$(djactors completion bash)"
complete -p djactors
COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_djactors_completion djactors
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not here")
def test_bash_completes_commands_options_words_and_files(tmp_path: Path) -> None:
    folder = Path(sys.executable).parent

    def completed(*words: str) -> list[str]:
        done = subprocess.run(
            ["bash", "--norc", "-euc", BASH, "bash", *words],
            cwd=tmp_path,
            env={**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=SHELL_SECONDS,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        how, *found = done.stdout.splitlines()
        assert how == "complete -o nosort -F _djactors_completion djactors"
        return found

    assert completed("djactors", "ex") == ["export"]
    assert completed("djactors", "serve", "--tls") == ["--tls-cert", "--tls-key"]
    assert completed("djactors", "token", "--role", "s") == ["service"]
    assert completed("djactors", "completion", "") == [*SHELLS]
