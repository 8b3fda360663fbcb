"""The README tells the truth: everything that can be set, called or heard is in it, and its commands run as written."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, cast, get_args
from urllib.request import urlopen

import click
import msgspec
import pytest
import trio

from djactors.cli import main
from djactors.config import Settings, environment_name
from djactors.domain.events import Common, DomainEvent
from djactors.domain.rules import RULES, Rule
from djactors.edge.commands import COMMANDS, REFRESH, TEST_COMMANDS
from djactors.edge.job_routes import JobRoutes
from djactors.inbox.unit import NAMES
from djactors.web.node import NODE
from tests.clients.driver import HERE as CLIENTS
from tests.serving import make_token, serving

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
PATIENCE = 120


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


INSTALL_AND_RUN, INSTALL_AND_TEST, *GUIDES = blocks("sh")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(**more: str) -> dict[str, str]:
    """As a person has it who has activated the virtual environment."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DJACTORS_", "JWT_", "COV_"))}
    return {**kept, "PATH": path, **more}


@pytest.mark.parametrize("name", Settings.__dataclass_fields__)
def test_every_setting_is_documented_with_its_default_and_what_the_program_says_of_it(name: str) -> None:
    field = Settings.__dataclass_fields__[name]
    match field.default:
        case bool(switch):
            default = str(switch).lower()
        case float(number):
            default = f"{number:g}"
        case tuple(values):
            default = ",".join(values)
        case other:
            default = str(other)
    shown = f"`{default}`" if default else ""
    assert f"| `{environment_name(name)}` | {shown} | {field.metadata['doc']} |" in README


@pytest.mark.parametrize("command", main.commands.values(), ids=lambda command: str(command.name))
def test_every_command_and_option_is_documented(command: click.Command) -> None:
    [row] = [line for line in README.splitlines() if line.startswith(f"| `djactors {command.name}")]
    for parameter in command.params:
        assert f"{'' if parameter.required else '['}{parameter.opts[0]}" in row


@pytest.mark.parametrize("event", [*COMMANDS, *TEST_COMMANDS, REFRESH, *NAMES.values()])
def test_every_socket_event_is_documented(event: str) -> None:
    assert f"`{event}`" in README


def test_every_route_is_documented() -> None:
    table = (ROOT / "djactors/edge/routes.py").read_text()
    routes = re.findall(r'\("(/[^"]*)", \{"([A-Z]+)"', table)
    assert len(routes) > 5
    for path, method in routes:
        assert re.search(rf"{method} {path}\b", README), f"{method} {path}"


def test_every_job_route_is_documented() -> None:
    # A table of routes needs nothing of what its handlers will use.
    rows = JobRoutes(cast(Any, None)).table
    assert len(rows) > 5
    for pattern, handlers in rows:
        path = re.sub(r"\(\?P<id>[^)]*\)", "{id}", pattern)
        for method in handlers:
            assert re.search(rf"`{method} {re.escape(path)}[`?]", README), f"{method} {path}"


@pytest.mark.parametrize("kind", get_args(DomainEvent), ids=lambda kind: kind.__name__)
def test_every_domain_event_is_documented_with_its_fields(kind: type[msgspec.Struct]) -> None:
    config = kind.__struct_config__
    [row] = [line for line in README.splitlines() if line.startswith(f"| `{config.tag}` |")]
    for field in msgspec.structs.fields(kind):
        if field.name not in Common.__struct_fields__:
            assert f"`{field.encode_name}{'' if field.required else '?'}`" in row


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.type)
def test_every_notification_type_is_documented_with_its_priority(rule: Rule) -> None:
    assert f"| `{rule.type}` | {rule.priority} |" in README


def test_ci_runs_the_test_command() -> None:
    assert ".venv/bin/python -m tests" in INSTALL_AND_TEST
    assert "$python -m tests" in (ROOT / ".ci/run").read_text()


def test_the_first_command_installs_and_runs_the_demo(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        if not name.startswith(("tests/", "bench/")) and (ROOT / name).exists():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, checkout / name)
    # The port is the default's, and may be taken on a machine that is in use.
    started = subprocess.Popen(
        ["bash", "-c", INSTALL_AND_RUN],
        cwd=checkout,
        # Only what is installed counts, not the checkout that the tests run from.
        env=environment(SOCKET_PORT=str(free_port()), PYTHONPATH=""),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert started.stdout is not None
        seen = []
        for line in started.stdout:
            seen.append(line)
            if line.startswith("listening on "):
                break
        assert seen[-1].startswith("listening on "), "".join(seen)
        assert any("/#token=" in line for line in seen)
        with urlopen(f"{seen[-1].split()[-1]}/", timeout=PATIENCE) as page:
            assert b'<script type="module"' in page.read()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGTERM)
        started.communicate(timeout=PATIENCE)


@pytest.mark.parametrize("guide", [pytest.param(g, id=f"guide-{n}") for n, g in enumerate(GUIDES) if "bench" not in g])
def test_each_guide_runs_as_written(guide: str, tmp_path: Path) -> None:
    output = tmp_path / "output"
    with output.open("w") as file:
        running = subprocess.Popen(
            ["bash", "-euc", guide],
            cwd=tmp_path,
            env=environment(SOCKET_PORT=str(free_port())),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = running.wait(PATIENCE)
        finally:
            # Whatever a guide leaves running in the background.
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGTERM)
    assert status == 0, output.read_text()
    assert '"error"' not in output.read_text()
    if "/api/notifications" in guide:
        assert '"title":"DJ-' in output.read_text()


def test_the_embedding_guide_runs_as_written(tmp_path: Path) -> None:
    [program] = blocks("python")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"notifications":[{"id":1,"userId":2,"type":"welcome"}]' in done.stdout


async def test_the_frontend_guide_runs_as_written(tmp_path: Path) -> None:
    [program] = blocks("js")
    assert program.startswith("import { io }")
    script = CLIENTS / "node_modules" / ".readme-guide.mjs"
    token = make_token(tenant_id=1, user_id=3)
    async with serving(tmp_path) as server, trio.open_nursery() as nursery:
        head, rest = program.split("\n", 1)
        script.write_text(f"{head}\nconst [url, token] = process.argv.slice(2);\n{rest}")
        process = await trio.lowlevel.open_process([NODE, script, server.url, token], stdout=subprocess.PIPE)
        try:
            output = ""
            assert process.stdout is not None
            with trio.fail_after(PATIENCE):
                async for chunk in process.stdout:
                    output += bytes(chunk).decode()
                    if "badge 0" in output and "assigned" not in output:
                        event = {"type": "job.assigned", "tenantId": 1, "jobId": 5, "assigneeId": 3}
                        nursery.start_soon(server.publish, event)
                    if "read true" in output:
                        break
        finally:
            process.kill()
            await process.wait()
            await process.stdout.aclose()
            script.unlink()
    assert "Job 5 assigned to you" in output
