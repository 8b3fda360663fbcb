"""The README tells the truth: everything that can be set, called or heard is in it, and its commands run as written."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import get_args
from urllib.request import urlopen

import click
import msgspec
import pytest
import trio

from djactors.config import Settings, environment_name
from djactors.domain import limits, notification_rules, notification_types
from djactors.domain.errors import Code
from djactors.domain.events import Common, DomainEvent
from djactors.domain.jobs import JobView, Status
from djactors.domain.notification_rules import RULES, Rule, Rules
from djactors.domain.packets import UNLOGGED
from djactors.domain.room import DISK_FILLING
from djactors.edge.commands import COMMANDS, PLAIN_EVENTS, TEST_COMMANDS
from djactors.edge.errors import STATUS
from djactors.edge.route import Route
from djactors.edge.table import ROUTES
from djactors.inbox.unit import NAMES
from djactors.operations import sizing
from djactors.operations.probe import FINDINGS, Finding
from djactors.telemetry import Metrics
from djactors.web.node import NODE
from tests.clients.driver import HERE as CLIENTS
from tests.operations.commands import EVERY_COMMAND
from tests.serving import make_token, serving

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
PATIENCE = 120
MAX_PICTURE_BYTES = 150_000


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


INSTALL_AND_RUN, INSTALL_AND_TEST, *GUIDES = blocks("sh")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(**more: str) -> dict[str, str]:
    """What a person has in a fresh shell: the virtual environment is not activated."""
    own = str(Path(sys.executable).parent)
    path = os.pathsep.join(folder for folder in os.environ["PATH"].split(os.pathsep) if folder != own)
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


@pytest.mark.parametrize("command", EVERY_COMMAND.values(), ids=lambda command: str(command.name))
def test_every_command_and_option_is_documented(command: click.Command) -> None:
    [row] = [line for line in README.splitlines() if line.startswith(f"| `djactors {command.name}")]
    for parameter in command.params:
        name = parameter.opts[0] if isinstance(parameter, click.Option) else parameter.metavar
        assert f"{'' if parameter.required else '['}{name}" in row


@pytest.mark.parametrize("event", [*COMMANDS, *TEST_COMMANDS, *PLAIN_EVENTS, *NAMES.values(), *UNLOGGED])
def test_every_socket_event_is_documented(event: str) -> None:
    assert re.search(rf"^\| `{event}` \|", README, re.MULTILINE)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_is_documented_with_its_parameters(route: Route) -> None:
    queries = re.findall(rf"`{route.method} {re.escape(route.path)}(\?[^`]*)?`", README)
    parameters = {field.encode_name for field in msgspec.structs.fields(route.query.kind)}
    assert parameters in [set(re.findall(r"[?&](\w+)=", query)) for query in queries]


def test_every_route_in_the_reference_exists() -> None:
    table = {(route.method, route.path) for route in ROUTES}
    reference = README.partition("\n## Reference\n")[2]
    assert set(re.findall(r"`(GET|POST|PUT|DELETE) (/[^`?]*)", reference)) == table


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


@pytest.mark.parametrize("word", [*notification_types.FIELDS, *notification_types.RECIPIENTS])
def test_every_field_and_every_recipient_of_a_notification_type_is_documented(word: str) -> None:
    assert f"`{word}`" in section("Notification types of your own")


@pytest.mark.parametrize(("name", "meaning"), notification_types.PLACEHOLDERS.items())
def test_every_placeholder_is_documented_with_what_takes_its_place(name: str, meaning: str) -> None:
    assert f"`{{{name}}}`, {meaning}" in section("Notification types of your own")


def test_the_page_words_and_draws_the_types_that_come_with_djactors() -> None:
    sources = ROOT / "djactors/web/packages/react/src"
    for path in ("features/inbox/names.js", "shared/components/kinds.js"):
        [table] = re.findall(r"new Map\(Object.entries\(\{\n(.*?)\}\)\)", (sources / path).read_text(), re.DOTALL)
        assert set(re.findall(r"^  (\w+):", table, re.MULTILINE)) == {*RULES, *notification_types.RESERVED}, path


def test_the_file_and_the_program_with_notification_types_make_the_same_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    [program] = [program for program in blocks("python") if "NotificationType(" in program]
    exec(compile(program, "<the README>", "exec"), {})
    [text] = re.findall(r"^cat > types.toml <<'END'\n(.*?)^END$", README, re.MULTILINE | re.DOTALL)
    rules = Rules(notification_types.from_fields(*each) for each in tomllib.loads(text).items())
    assert capsys.readouterr().out == f"{rules.digest}\n"


def test_the_notification_beside_the_rules_is_documented() -> None:
    assert f"| `{limits.SUMMARY_TYPE}` | LOW |" in README


@pytest.mark.parametrize(
    "reason",
    [
        *(notification_rules.ACTOR, notification_rules.LATE, notification_rules.DEACTIVATED),
        *(notification_rules.MUTED, notification_rules.SWITCHED_OFF, limits.DAILY_LIMIT),
    ],
)
def test_every_reason_for_not_notifying_somebody_is_documented(reason: str) -> None:
    assert f"`{reason}`" in README


def test_the_fields_and_the_states_of_a_job_are_documented() -> None:
    [shape] = re.findall(r"^\{ id, djId, [^}]*\}", README, re.MULTILINE)
    assert re.findall(r"\w+", shape) == [field.encode_name for field in msgspec.structs.fields(JobView)]
    for status in get_args(Status):
        assert f"`{status}`" in README


@pytest.mark.parametrize("code", Code)
def test_every_error_code_is_documented_with_its_status(code: Code) -> None:
    assert f"| `{code}` | {STATUS[code]} |" in README


def test_every_code_of_a_refused_token_is_documented() -> None:
    sources = [(ROOT / "djactors/edge" / name).read_text() for name in ("auth.py", "gateway.py")]
    codes = set(re.findall(r'Unauthorized\("([a-z_]+)"', "".join(sources)))
    assert len(codes) > 4
    for code in codes:
        assert f"| `{code}` |" in README


@pytest.mark.parametrize("name", [name for name in vars(Metrics()) if name != "registry"])
def test_every_metric_is_documented_with_its_labels_and_what_it_says_of_itself(name: str) -> None:
    metric = getattr(Metrics(), name)
    [family] = metric.collect()
    shown = f"{family.name}{'_total' if family.type == 'counter' else ''}"
    labels = ", ".join(f"`{label}`" for label in getattr(metric, "_labelnames", ()))
    assert f"| `{shown}` | {labels} | {family.documentation} |" in README


@pytest.mark.parametrize(("name", "finding"), FINDINGS.items())
def test_every_finding_of_the_probe_is_documented_with_its_check_and_mend(name: str, finding: Finding) -> None:
    assert f"| `{name}` | {finding.check} | {finding.wrong} | {finding.mend} |" in README


def anchor(heading: str) -> str:
    """What a heading is called in a link, by GitHub's rule."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def section(heading: str) -> str:
    """The text behind a heading, up to the next one of any rank."""
    text = re.split(rf"^#+ {re.escape(heading)}$", README, maxsplit=1, flags=re.MULTILINE)[1]
    return re.split(r"^#", text, maxsplit=1, flags=re.MULTILINE)[0]


def defined_tests(folder: Path) -> set[str]:
    """The names of all tests in the files below a folder."""
    return {
        name
        for file in folder.rglob("test_*.py")
        for name in re.findall(r"^ *(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
    }


@pytest.mark.parametrize("table", ["Threats and what stops them", "Faults and what the server does"])
def test_every_test_that_stands_for_a_promise_exists(table: str) -> None:
    named = re.findall(r"`(test_\w+)`", section(table))
    assert len(named) > 10
    defined = defined_tests(ROOT / "tests")
    assert not [name for name in named if not any(test.startswith(name) for test in defined)]


FAULTS = 43
"""The faults of a server with its own database, and of many nodes with PostgreSQL."""


def test_every_fault_is_a_promise_with_its_tests() -> None:
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", section("Faults and what the server does"), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, FAULTS + 1))
    # Each test that has the number of a row in its name is named in that row, and each row has one.
    tested: dict[str, list[str]] = {number: [] for number, _ in rows}
    for test in defined_tests(ROOT / "tests"):
        numbers = re.match(r"test_row_(\d+)(?:_and_(\d+))?_", test)
        for number in filter(None, numbers.groups()) if numbers else ():
            tested[number].append(test)
            named = re.findall(r"`(test_\w+)`", dict(rows)[number])
            assert any(test.startswith(name) for name in named), f"{test} is not in row {number}"
    assert not [number for number, tests in tested.items() if not tests]
    # What is in the folder of the physical faults is of a row.
    physical = defined_tests(ROOT / "tests/faults")
    assert len(physical) > 20
    assert not [test for test in physical if not test.startswith("test_row_")]


def test_every_link_leads_somewhere() -> None:
    anchors = {anchor(heading) for heading in re.findall(r"^#+ (.+)$", README, re.MULTILINE)}
    targets = re.findall(r"\]\(([^)]+)\)", README)
    assert len(targets) > 10
    for target in targets:
        assert (target[1:] in anchors) if target.startswith("#") else (ROOT / target).is_file(), target


def test_the_table_of_what_one_wants_to_do_leads_to_every_section() -> None:
    table = README.partition("**What do you want to do?**")[2].partition("\n## ")[0]
    headings = re.findall(
        r"^###? (.+)$", re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )
    assert len(headings) > 40
    assert not [heading for heading in headings if f"](#{anchor(heading)})" not in table]


def test_the_picture_is_small_enough_to_be_loaded_by_everybody() -> None:
    [picture] = re.findall(r"^!\[[^\]]+\]\(([^)]+)\)", README, re.MULTILINE)
    assert (ROOT / picture).stat().st_size < MAX_PICTURE_BYTES


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


BY_OTHER_TESTS = re.compile(r"\bbench\b|\bapt-get\b|\bhaproxy\b|\bopenapi-python-client\b")
"""Guides that take a long time, or what tests of their own give them (tests/proxies, tests/description)."""


@pytest.mark.parametrize(
    "guide", [pytest.param(g, id=f"guide-{n}") for n, g in enumerate(GUIDES) if not BY_OTHER_TESTS.search(g)]
)
def test_each_guide_runs_as_written(guide: str, tmp_path: Path) -> None:
    # A guide is for whoever has run the first command: there is a virtual environment, and it is not activated.
    (tmp_path / ".venv").symlink_to(sys.prefix)
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
    [program] = [program for program in blocks("python") if "nursery.start(server.run)" in program]
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


async def test_the_python_guides_run_as_written(tmp_path: Path) -> None:
    follow, publish = [program for program in blocks("python") if "DJACTORS_TOKEN" in program]
    async with serving(tmp_path) as server:

        def run(program: str, token: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-u", "-W", "error", "-c", program]
            variables = environment(DJACTORS_URL=server.url, DJACTORS_TOKEN=token)
            return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

        following = run(follow, make_token(tenant_id=1, user_id=2))
        try:
            assert following.stdout is not None
            with trio.fail_after(PATIENCE):
                reading = trio.Event()

                async def first_line() -> None:
                    told.append(await trio.to_thread.run_sync(following.stdout.readline))  # type: ignore[union-attr]
                    reading.set()

                told: list[str] = []
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(first_line)
                    # It sees what is published once it is connected.
                    while not reading.is_set():
                        publishing = run(publish, make_token(tenant_id=1, role="service"))
                        output, complaint = await trio.to_thread.run_sync(publishing.communicate)
                        assert (output, complaint) == ("[2]\n", "")
            assert re.fullmatch(r"DJ-\d+-\d+ assigned to you \d+\n", told[0])
        finally:
            following.kill()
            following.communicate()


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


def test_the_table_of_what_a_machine_needs_is_the_measured_one() -> None:
    for row in sizing.rows():
        assert f"| {' | '.join(row)} |\n" in README


def test_the_notification_of_a_full_disk_is_documented() -> None:
    assert f"| `{DISK_FILLING}` | LOW |" in README
