"""No test runs a program that the preparation does not know of: a machine that has it by chance would hide that."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from djactors.operations.demonstration import curl_line, watch_line
from tests.environment import test_page
from tests.environment.preparation import NEEDS
from tests.environment.programs import NODE, PYTHON, UNSEEN, Sources, Started, commands_of
from tests.examples.example import EXAMPLES

ROOT = Path(__file__).parent.parent.parent
FOLDERS = ("tests", "bench", "djactors/web")

FROM_PIP = {PYTHON, NODE, "pip", "djactors", "py-spy", "sqlite-utils"}
"""What the virtual environment brings."""

FOR_PEOPLE = {"python", "python3", "pip", "djactors", "node", "npm"}
"""What people have who run the lines that are written for them; the tests give them those of the environment."""

OF_EXAMPLES = {"flask", "uvicorn", "overdue.sh", "openapi-python-client"}
"""What an example has itself, or what it or a guide installs by its first line."""

IF_THERE = {"perf"}
"""What the bench does without where it is missing: it must fit the kernel, so no package brings the right one."""

ONLY_BY_HAND = {"apt-get"}
"""The preparation's own, of which it tells whoever lacks it. README's guide for operators has it as well."""


def source_files() -> list[Path]:
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return [path for path in files if not {".venv", "node_modules"} & set(path.relative_to(ROOT).parts)]


def shell_lines() -> set[str]:
    """Programs of what is written in a shell's language: README and those of the examples, the demo, a page's build."""
    guides = [ROOT / "README.md", *EXAMPLES.glob("*/README.md")]
    shown = [re.findall(r"^```sh\n(.*?)^```$", guide.read_text(), re.MULTILINE | re.DOTALL) for guide in guides]
    texts = [text for blocks in shown for text in blocks]
    texts += [watch_line("http://url", "token"), curl_line("http://url", "token", "{}"), test_page.BUILD]
    return {name for text in texts for name in commands_of(text)}


@pytest.fixture(scope="module")
def started() -> list[Started]:
    """All that the tests and the bench start."""
    return Sources(ROOT, source_files()).started()


def test_every_program_that_is_started_is_one_that_the_preparation_brings(started: list[Started]) -> None:
    known = {need.name for need in NEEDS} | FROM_PIP | IF_THERE | ONLY_BY_HAND
    assert len(started) > 40
    assert [one for one in started if one.name not in known] == []


def test_every_program_of_a_shell_is_one_that_the_preparation_brings() -> None:
    lines = shell_lines()
    assert {"curl", "djactors", "npm"} <= lines
    assert lines - {need.name for need in NEEDS} - FOR_PEOPLE - OF_EXAMPLES - ONLY_BY_HAND == set()


def test_the_preparation_brings_no_program_that_nobody_starts(started: list[Started]) -> None:
    names = {one.name for one in started} | shell_lines()
    assert {need.name for need in NEEDS} - names == {"a font", "libatomic.so.1", "libfaketimeMT.so.1"}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("subprocess.run(['one', 'x'])", {"one"}),
        ("await trio.run_process(('/usr/bin/one', 'x'))", {"one"}),
        ("nursery.start_soon(partial(trio.run_process, ['one']))", {"one"}),
        ("shutil.which('one')", {"one"}),
        ("ONE = 'one'\nsubprocess.Popen([ONE])", {"one"}),
        ("command = ['one']\nif x: command = ['two']\nsubprocess.Popen(command)", {"one", "two"}),
        ("COMMANDS = {'a': ['one'], 'b': ['two']}\nsubprocess.run(COMMANDS[kind])", {"one", "two"}),
        ("subprocess.run(['one'] if x else ['two'])", {"one", "two"}),
        ("subprocess.run([folder / 'bin' / 'one'])", {"one"}),
        ("def f():\n  return ['setpriv', '-x']\nsubprocess.run([*f(), 'one'])", {"setpriv", "one"}),
        ("def f(x, command):\n  subprocess.run(command)\nf(1, ['one'])\nf(1, command=['two'])", {"one", "two"}),
        ("def f(*words):\n  subprocess.run(words)\ndef g(words):\n  f(words)\ng('one')", {"one"}),
        ("subprocess.run(['bash', '-euc', 'x=1 one && two | $(three) > four'])", {"bash", "one", "two", "three"}),
        ("subprocess.run(['sh', '-c', \"one <<'END' | two\\nthree\\nEND\\nfour\"])", {"sh", "one", "two", "four"}),
        ("subprocess.run([sys.executable, '-m', 'x'])", {PYTHON}),
        ("subprocess.run([str(NODE), 'x.mjs'])", {NODE}),
        ("subprocess.run(read_it_somewhere())", {UNSEEN}),
        ("subprocess.run(f'{x}y')", {UNSEEN}),
        ("subprocess.run(unknown)", {UNSEEN}),
        ("server.run(['nothing that is started'])", set()),
    ],
)
def test_what_is_started_is_seen(tmp_path: Path, source: str, found: set[str]) -> None:
    (tmp_path / "sample.py").write_text(source)
    assert {one.name for one in Sources(tmp_path, [tmp_path / "sample.py"]).started()} == found


def test_a_command_is_followed_into_other_files(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("def f(command):\n  subprocess.run(command)\n")
    (tmp_path / "two.py").write_text("ONE = ['one']\n")
    (tmp_path / "three.py").write_text("from one import f\nfrom two import ONE\nf(ONE)\n")
    assert [str(one.where) for one in Sources(tmp_path, sorted(tmp_path.iterdir())).started()] == ["three.py:3"]
