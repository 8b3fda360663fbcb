"""The files for Prometheus and Grafana: promtool takes them, each alert fires, and every metric in them exists."""

from __future__ import annotations

import json
import re
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from prometheus_client.metrics import MetricWrapperBase

from djactors.cli import main
from djactors.commands.seeing import FILES
from djactors.operations.probe import Report, Result
from djactors.telemetry import Metrics, QuickCounter
from tests.operations.commands import EVERY_COMMAND
from tests.operations.test_embedding import running, settings
from tests.project.test_readme import README, ROOT, section
from tests.serving import send_request

FOLDER = Path(str(files("djactors.monitoring")))
ALERTS = FOLDER / "alerts.yml"
RULES = ALERTS.read_text()
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
NAMES = re.findall(r"- alert: (\w+)", RULES)
OF_PROMETHEUS = {"up": {"job", "instance"}}
"""Metrics that Prometheus makes itself, and their labels."""

OF_EVERYBODY = {"instance", "le"}
"""Labels that Prometheus adds, and that a histogram has."""


def expressions() -> list[str]:
    """All that the dashboard asks, as a rule could ask it."""
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [text.replace("$__rate_interval", "5m").replace("$instance", ".*") for text in asked]


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def exposed(folder: Path) -> dict[str, set[str]]:
    """The names of all samples that a server and the probe expose, with their labels."""
    async with running(settings(folder)) as server:
        text = (await send_request(server.url, "GET", "/metrics")).body.decode()
    report = Report("http://here", [Result("page", finding="host_changed")], {"connect": {"tcp": 0.1}})
    text += "".join(f"# TYPE {sample.partition('{')[0].split()[0]} gauge\n" for sample in report.metrics())
    names: dict[str, set[str]] = {}
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE):
        for suffix in ("_bucket", "_sum", "_count") if kind == "histogram" else ("",):
            names[name + suffix] = set()
    for metric in vars(Metrics()).values():
        if isinstance(metric, MetricWrapperBase | QuickCounter):
            [family] = metric.collect()
            names[f"{family.name}_total" if family.type == "counter" else family.name] = set(metric._labelnames)
    for name, labels in re.findall(r"^(\w+)\{(.*)\}", "\n".join(report.metrics()), re.MULTILINE):
        names[name] = set(re.findall(r"(\w+)=", labels))
    return names | OF_PROMETHEUS


def test_promtool_takes_the_rules() -> None:
    assert f"{len(NAMES)} rules found" in promtool("check", "rules", ALERTS)


def test_promtool_takes_what_the_dashboard_asks(tmp_path: Path) -> None:
    rules = [{"record": f"asked_{number}", "expr": text} for number, text in enumerate(expressions())]
    asked = tmp_path / "asked.yml"
    asked.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", asked)


async def test_every_metric_and_label_in_them_exists(tmp_path: Path) -> None:
    names = await exposed(tmp_path)
    asked = [*expressions(), *re.findall(r"^ +(?:expr: |(?:increase|or) ?\()(.*)$", RULES, re.MULTILINE)]
    named = set(re.findall(r"\b(djactors_\w+|up)\b", "\n".join(asked)))
    assert len(named) > 20
    assert named - set(names) == set()
    for name, matchers in re.findall(r"\b(djactors_\w+|up)\{([^}]*)\}", "\n".join(asked)):
        labels = set(re.findall(r"(\w+)=", matchers))
        assert labels - names[name] - OF_EVERYBODY == set(), f"{name} has no such label"


async def test_every_metric_is_on_the_dashboard_or_in_a_rule(tmp_path: Path) -> None:
    own = {name for name in await exposed(tmp_path) if name.startswith("djactors_") and not name.endswith("_created")}
    text = RULES + json.dumps(DASHBOARD)
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in own}
    assert {name for name in shown if not re.search(rf"\b{name}(_\w+)?\b", text)} <= {
        # The finding and the check say what failed, to whoever looks up why the probe fails.
        *("djactors_probe_check_success", "djactors_probe_finding"),
    }


def test_the_dashboard_is_one_that_grafana_can_lay_out() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids) > 15
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + right, place["y"] + down) for right in range(place["w"]) for down in range(place["h"])}
        assert not cells & taken, f"{panel['title']} covers another panel"
        taken |= cells
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource", "instance"]


def histogram(name: str, bound: str, beyond: str) -> dict[str, str]:
    """A hundred values a minute, all between two bounds."""
    return {
        f'{name}_bucket{{instance="a",le="{bound}"}}': "0x60",
        f'{name}_bucket{{instance="a",le="{beyond}"}}': "0+100x60",
        f'{name}_bucket{{instance="a",le="+Inf"}}': "0+100x60",
    }


ACTOR = {"actor": "user"}
FIRES: dict[str, list[tuple[dict[str, str], dict[str, str]]]] = {
    "DjactorsDown": [({'up{job="djactors",instance="a"}': "0x60"}, {"job": "djactors"})],
    "DjactorsNotReady": [({'djactors_ready{instance="a"}': "0x60"}, {})],
    "DjactorsEventsNotRecorded": [
        ({f'djactors_domain_events_total{{instance="a",type="job.created",outcome="{outcome}"}}': "0+1x60"}, {})
        for outcome in ("failed", "unavailable")
    ],
    "DjactorsDeliverySlow": [(histogram("djactors_delivery_seconds", "0.5", "1.0"), {})],
    "DjactorsCommitsSlow": [(histogram("djactors_commit_seconds", "0.25", "0.5"), {})],
    "DjactorsQueueFills": [
        ({'djactors_mailbox_depth{instance="a",actor="router"}': "2049x60"}, {"actor": "router"}),
    ],
    "DjactorsLoopHeldUp": [({'djactors_long_turns_total{instance="a"}': "0+3x60"}, {})],
    # The first crash of a process makes the series; a later one raises it.
    "DjactorsActorCrashed": [
        ({'djactors_actor_restarts_total{instance="a",actor="user"}': values}, ACTOR)
        for values in ("_x20 1x40", "5x20 6x40")
    ],
    "DjactorsActorSetAside": [
        ({'djactors_actor_quarantines_total{instance="a",actor="user"}': values}, ACTOR)
        for values in ("_x20 1x40", "5x20 6x40")
    ],
    "DjactorsConnectionsRefused": [
        ({f'djactors_refusals_total{{instance="a",reason="{reason}"}}': "0+60x60"}, {"reason": reason})
        for reason in ("connection_total", "engine_origin", "token_expired")
    ],
    "DjactorsConnectionsRunShort": [({'djactors_tcp_connections{instance="a"}': "9601x60"}, {})],
    "DjactorsStrangersHoldMuch": [({'djactors_unproven_bytes{instance="a"}': "60000000x60"}, {})],
    "DjactorsClientsReset": [({'djactors_resumed_total{instance="a",outcome="reset"}': "0+6x60"}, {})],
    "DjactorsPollsOtherNodes": [
        (
            {
                'djactors_listening{instance="a"}': "0x60",
                'djactors_followed_changes_total{instance="a"}': "0+1x60",
            },
            {},
        )
    ],
    "DjactorsDiskFillsUp": [
        ({'djactors_disk_days_left{instance="a"}': "9x60"}, {}),
        ({'djactors_disk_free_bytes{instance="a"}': "1000000x60"}, {}),
    ],
    "DjactorsNoBackup": [({'djactors_backup_timestamp_seconds{instance="a"}': "-172000x60"}, {})],
    "DjactorsLogLost": [({'djactors_log_lines_dropped_total{instance="a"}': "0x20 7x40"}, {})],
    "DjactorsProbeFails": [({'djactors_probe_success{instance="a"}': "0x60"}, {})],
}
"""What makes each alert fire after half an hour, and the labels that it has besides."""

WELL = {
    'up{job="djactors",instance="a"}': "1x60",
    'djactors_ready{instance="a"}': "1x60",
    'djactors_domain_events_total{instance="a",type="job.created",outcome="recorded"}': "0+1000x60",
    'djactors_domain_events_total{instance="a",type="job.created",outcome="refused"}': "0+1x60",
    **histogram("djactors_delivery_seconds", "0.001", "0.0025"),
    **histogram("djactors_commit_seconds", "0.005", "0.01"),
    'djactors_mailbox_depth{instance="a",actor="router"}': "200x60",
    'djactors_long_turns_total{instance="a"}': "7x60",
    'djactors_actor_restarts_total{instance="a",actor="user"}': "3x60",
    'djactors_refusals_total{instance="a",reason="token_expired"}': "0+5x60",
    'djactors_refusals_total{instance="a",reason="http_404"}': "0+500x60",
    'djactors_tcp_connections{instance="a"}': "2000x60",
    'djactors_unproven_bytes{instance="a"}': "4096x60",
    'djactors_resumed_total{instance="a",outcome="pid"}': "0+500x60",
    'djactors_resumed_total{instance="a",outcome="reset"}': "0+1x60",
    'djactors_listening{instance="a"}': "0x60",
    'djactors_followed_changes_total{instance="a"}': "0x60",
    'djactors_log_lines_dropped_total{instance="a"}': "0x60",
    'djactors_disk_days_left{instance="a"}': "400x60",
    'djactors_disk_free_bytes{instance="a"}': "9000000000x60",
    'djactors_backup_timestamp_seconds{instance="a"}': "NaN NaN -80000x58",
    'djactors_probe_success{instance="a"}': "1x60",
}
"""A server alone on its database, with which nothing is wrong, and as much as a day brings."""


def judged(folder: Path, series: dict[str, str], firing: list[str], at: str = "30m") -> None:
    """Have promtool compare which alerts fire at a moment."""
    asked = 'ALERTS{alertstate="firing"}'
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": asked, "eval_time": at, "exp_samples": [{"labels": one, "value": 1} for one in firing]}
        ],
    }
    file = folder / "test.yml"
    content = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [test]}
    file.write_text(json.dumps(content))
    promtool("test", "rules", file)


@pytest.mark.parametrize(
    ("name", "series", "labels"), [(name, *case) for name, cases in FIRES.items() for case in cases]
)
def test_each_alert_fires(name: str, series: dict[str, str], labels: dict[str, str], tmp_path: Path) -> None:
    [severity] = re.findall(rf"- alert: {name}\n.*?severity: (\w+)", RULES, re.DOTALL)
    all_labels = {"alertname": name, "alertstate": "firing", "instance": "a", "severity": severity, **labels}
    shown = ",".join(f'{key}="{value}"' for key, value in all_labels.items())
    judged(tmp_path, series, [f"ALERTS{{{shown}}}"])


def test_none_fires_while_all_is_well(tmp_path: Path) -> None:
    judged(tmp_path, WELL, [])


@pytest.mark.parametrize(
    ("values", "at", "fires"),
    [
        ("NaN+0x3000", "47h", False),
        ("NaN+0x3000", "49h", True),
        # A restore has taken the note away, and the next copy is not due yet.
        ("100000x2000 NaN+0x1000", "49h", False),
    ],
    ids=["new", "never", "restored"],
)
def test_an_installation_has_two_days_for_its_first_backup(values: str, at: str, fires: bool, tmp_path: Path) -> None:
    name = 'ALERTS{alertname="DjactorsNoBackup",alertstate="firing",instance="a",severity="ticket"}'
    judged(tmp_path, {'djactors_backup_timestamp_seconds{instance="a"}': values}, [name] if fires else [], at)


def test_every_alert_is_tried_and_says_what_to_do() -> None:
    assert list(FIRES) == NAMES
    assert RULES.count("          do: ") == RULES.count("          summary: ") == len(NAMES)


@pytest.mark.parametrize("what", FILES)
def test_the_command_prints_the_file(what: str) -> None:
    result = CliRunner().invoke(main, ["monitoring", f"--{what}"])
    assert result.exit_code == 0
    assert result.output == (FOLDER / FILES[what]).read_text()


def test_the_command_wants_to_know_which() -> None:
    assert CliRunner().invoke(main, ["monitoring"]).exit_code == 2
    # Of two files in one output, none could be used.
    assert CliRunner().invoke(main, ["monitoring", "--alerts", "--dashboard"]).exit_code == 2


def test_every_metric_has_what_to_do_when() -> None:
    rows = re.findall(r"^\| `(djactors_\w+)` \|(.*)\|$", section("Metrics"), re.MULTILINE)
    assert len(rows) == len(vars(Metrics())) - 1
    for name, cells in rows:
        _labels, _meaning, advice = (cell.strip() for cell in re.split(r"(?<!\\)\|", cells))
        assert re.search(r": \S+", advice), f"{name}: when, a colon, and what to do"


def test_every_command_for_what_is_to_be_watched_exists() -> None:
    names: set[str] = set()
    watched = section("Watch it") + section("The checklist")
    for row in watched.splitlines():
        for line in re.findall(r"`djactors (\w[^`]*)`", row):
            name, *words = line.split()
            names.add(name)
            command: click.Command = EVERY_COMMAND[name]
            known = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= known, line
        for alert in re.findall(r"`(Djactors\w+)`", row):
            assert alert in NAMES
        for metric in re.findall(r"`(djactors_\w+)`", row):
            assert f"| `{metric}` |" in README
    assert {"top", "probe", "check", "inbox"} <= names


def test_the_alerts_and_top_have_the_same_bounds() -> None:
    source = (ROOT / "djactors/operations/top/trouble.py").read_text()
    bounds: dict[str, Any] = dict(re.findall(r"^(\w+): Final = ([\d.]+)$", source, re.MULTILINE))
    assert f"djactors_delivery_seconds_bucket[5m]))) > {bounds['SLOW_DELIVERY']}" in RULES
    assert f"djactors_commit_seconds_bucket[5m]))) > {bounds['SLOW_COMMIT']}" in RULES
