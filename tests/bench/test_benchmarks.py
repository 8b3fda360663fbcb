"""Each benchmark runs on the server as it is, in a tiny size, and reports what was asked for. No figure is asserted."""

import os
import select
import shutil
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.usage import tree
from djactors.operations.sizing import Measured
from tests.environment.background import in_background

RUN_SECONDS = 400
"""A peer may have to be installed first."""

END_SECONDS = 30


def run(out: Path, name: str, options: str) -> dict[str, Any]:
    """Run a benchmark to its good end; its report."""
    command = [sys.executable, "-m", "bench", name, *options.split(), "--out", str(out)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.suffix for path in sorted(out.iterdir())] == [".json", ".svg"]
    (path,) = out.glob("*.json")
    report: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    assert not report["faults"]
    assert report["machine"]["cores"] > 0
    return report


def test_latency_delivers_everything_and_reports_it(tmp_path: Path) -> None:
    plan = "--users 3 --rate 40 --seconds 0.5 --warmup 0.1 --connecting-users 5 --publishers 2"
    report = run(tmp_path, "latency", f"{plan} --others 2 --others-rate 20 --others-seconds 0.5")
    assert {label: phase["delivered"]["count"] for label, phase in report["figures"]["others"].items()} == {
        "in quiet": 10,
        "beside notification.requested": 10,
        "beside job.assigned": 10,
    }
    counts = {label: row["count"] for label, row in report["figures"]["latencies"].items()}
    assert counts == {
        "connect": 5,
        "notification.requested → 201": 20,
        "notification.requested → client": 20,
        "notification.requested, sent late": 20,
        "job.assigned → 201": 20,
        "job.assigned → client": 20,
        "job.assigned, sent late": 20,
    }


def test_pace_delivers_everything_at_each_rate_and_counts_what_the_kernel_did(tmp_path: Path) -> None:
    plan = "--with djactors --with floor --rate 60 --rate 120 --users 3 --seconds 0.2 --turns 2 --publishers 2"
    figures = run(tmp_path, "pace", plan)["figures"]
    assert list(figures) == ["60", "120"]
    for rate in figures.values():
        assert list(rate) == ["djactors", "floor"]
        for server in rate.values():
            assert server["delivered"]["count"] == 2 * 60
            assert server["woken"] > 1, "at least for the request and for the commit"
            assert server["pages"] > 0


def test_throughput_delivers_what_every_producer_posts(tmp_path: Path) -> None:
    plan = "--users 3 --producers 1 --producers 4 --batch 1 --batch 5 --seconds 0.1"
    figures = run(tmp_path, "throughput", plan)["figures"]
    assert list(figures) == [
        "1 producers, single",
        "4 producers, single",
        "1 producers, batches of 5",
        "4 producers, batches of 5",
    ]
    for phase in figures.values():
        assert phase["messages"] == phase["posted"] == phase["delivered"]["count"] > 0


def test_the_floor_delivers_as_well(tmp_path: Path) -> None:
    figures = run(tmp_path, "throughput", "--server floor --users 3 --producers 4 --seconds 0.1")["figures"]
    assert all(phase["messages"] == phase["posted"] > 0 for phase in figures.values())


def test_the_store_and_the_bare_loop_write_the_same(tmp_path: Path) -> None:
    figures = run(tmp_path, "store", "--batch 4 --batches 2 --turns 2 --users 3")["figures"]
    assert figures["store"]["events"] == figures["bare executemany"]["events"] == 16
    assert figures["rows"]["insert notifications"] == 16


def test_fan_out_tells_every_socket_of_every_assignment(tmp_path: Path) -> None:
    plan = "--sockets 3 --sockets 7 --assignments 2 --bursts 2 --burst 3 --rate 10 --seconds 0.4 --others 2"
    figures = run(tmp_path, "fanout", plan)["figures"]
    others = figures.pop("others")
    assert figures.pop("others_p99_ms") > 0
    assert {label: phase["delivered"]["count"] for label, phase in others.items()} == {
        "3 sockets, in quiet": 40,
        "3 sockets, 10 a second": 40,
        "7 sockets, in quiet": 40,
        "7 sockets, 10 a second": 40,
    }
    # Everybody hears of it, and its assignee is notified.
    assert {label: phase["messages"] for label, phase in figures.items()} == {
        "3 sockets, one at a time": 2 * (3 + 1),
        "3 sockets, bursts of 3": 6 * (3 + 1),
        "3 sockets, 10 a second": 4 * (3 + 1),
        "7 sockets, one at a time": 2 * (7 + 1),
        "7 sockets, bursts of 3": 6 * (7 + 1),
        "7 sockets, 10 a second": 4 * (7 + 1),
    }


def test_those_who_return_are_served_and_others_meanwhile(tmp_path: Path) -> None:
    plan = "--users 20 --missed 5 --others 3 --rate 200 --seconds 0.8 --turns 2"
    figures = run(tmp_path, "recovery", plan)["figures"]
    assert list(figures) == ["this build", "others_p99_ms"]
    figures = figures["this build"]
    assert (figures["recovered"], figures["replayed"]) == (2 * 20, 2 * 20 * 5)
    assert figures["caught_up"]["count"] == 2 * 20
    assert len(figures["served_seconds"]) == 2
    assert figures["before"]["delivered"]["count"] == 2 * 160
    meanwhile = figures["meanwhile"]
    assert meanwhile["delivered"]["count"] == meanwhile["acknowledged"]["count"] <= 2 * 160


def test_connections_are_counted_in_steps(tmp_path: Path) -> None:
    figures = run(tmp_path, "connections", "--users 10 --steps 3 --at-once 2")["figures"]
    assert figures["users"] == 10
    assert [step["up_to"] for step in figures["steps"]] == ["up to 3", "up to 6", "up to 9", "up to 10"]


def test_idle_users_are_still_there_at_the_end(tmp_path: Path) -> None:
    assert run(tmp_path, "idle", "--users 5 --seconds 0.2")["figures"]["users"] == 5


def test_sizing_measures_all_that_the_table_is_made_of(tmp_path: Path) -> None:
    figures = run(tmp_path, "sizing", "--users 5 --notifications 40 --jobs 10")["figures"]
    assert list(figures) == [field.name for field in fields(Measured)]


def test_scale_makes_its_inboxes_and_serves_them(tmp_path: Path) -> None:
    figures = run(tmp_path, "scale", "--users 2 5 --rows 50 30000 --rounds 1 --seconds 0.1 --requests 3")["figures"]
    for label in ("2 users", "5 users", "50 rows", "30,000 rows"):
        assert all(phase["messages"] == phase["posted"] > 0 for phase in figures[label])
    assert figures["users_ratio"] > 0
    assert figures["rows_ratio"] > 0


def test_all_do_the_same_work_side_by_side(tmp_path: Path) -> None:
    names = ("djactors", "Express", "python-socketio", "floor")
    plan = "--rounds 1 --seconds 0.1 --sockets 4 --crowd 6 --rate 50 --assignments 2"
    chosen = " ".join(f"--with {name}" for name in names)
    figures = run(tmp_path, "compare", f"{plan} {chosen}")["figures"]
    for name in names:
        phases = figures["servers"][name]["phases"]
        for phase in ("single", "batch", "paced"):
            assert all(each["messages"] == each["posted"] > 0 for each in phases[phase])
        told = [each["messages"] for phase in ("fan-out", "burst") for each in phases[phase]]
        assert told == ([] if name == "floor" else [2 * (4 + 1), 100 * (4 + 1)])
    assert {"cpu_vs_floor", "batch_vs_single"} <= figures["ratios"].keys()


def test_siege_puts_a_crowd_beside_each_attack(tmp_path: Path) -> None:
    attacks = ("A1 unread log", "A3 connects", "A12 comments")
    plan = ["siege", "--users", "3", "--rate", "20", "--seconds", "0.5", "--tries", "1", "--out", str(tmp_path)]
    for name in attacks:
        plan += ["--attack", name]
    command = [sys.executable, "-m", "bench", *plan]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = tmp_path.glob("*.json")
    figures = msgspec.json.decode(path.read_bytes())["figures"]
    assert tuple(figures) == attacks
    for name, row in figures.items():
        assert row["quiet"]["delivered"] == row["quiet"]["posted"] == 10, name
        assert row["attacked"]["delivered"] > 0, name
        assert row["attacked"]["worst_turn_ms"] > 0, name
        assert row["attacked"]["turn_cpu_ms"] > 0, name
        assert len(row["tries"]) == 1, name
        assert sum(row["attacker"].values()) > 0, name


BENCH = (sys.executable, "-u", "-m", "bench")


@pytest.mark.parametrize("request_to_end", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("start", [BENCH, in_background(*BENCH)], ids=["foreground", "background"])
def test_an_interrupted_benchmark_leaves_nothing_behind(
    tmp_path: Path, start: tuple[str, ...], request_to_end: signal.Signals
) -> None:
    command = [*start, "idle", "--users", "2", "--seconds", "600", "--out", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as bench:
        # The benchmark itself, its server and its load.
        while len(started := list(tree(bench.pid))) < 3:
            assert bench.poll() is None
        descriptors = [os.pidfd_open(pid) for pid in started]
        bench.send_signal(request_to_end)
        try:
            bench.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            bench.send_signal(signal.SIGTERM)
            raise
    assert bench.returncode != 0
    for descriptor in descriptors:
        # Readable once its process has ended (pidfd_open(2)). A load that was just being started sees its stdin end.
        assert select.select([descriptor], [], [], END_SECONDS)[0]
        os.close(descriptor)
    assert not list(tmp_path.iterdir())


def test_builds_takes_turns_between_two_checkouts(tmp_path: Path) -> None:
    python = tmp_path / "other" / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    plan = f"--other {tmp_path / 'other'} --users 2 --rate 40 --seconds 0.3 --turns 1 --rounds 2 --publishers 2"
    figures = run(tmp_path / "out", "builds", f"{plan} --phase connect --phase paced --phase batch")["figures"]
    for phase in ("paced", "batch", "connect"):
        assert [len(turns) for turns in figures[phase]["turns"].values()] == [2, 2]
        assert set(figures[phase]["ratios"]) == {"cpu_us", "p50_ms", "p99_ms"}


def test_strangers_are_counted_by_what_they_leave_half_sent(tmp_path: Path) -> None:
    figures = run(tmp_path, "strangers", "--connections 20")["figures"]
    assert list(figures["mib"]) == ["half a head", "half a message"]
    assert all(list(grown) == ["a byte", "all"] for grown in figures["mib"].values())


def test_backup_copies_beside_the_posts(tmp_path: Path) -> None:
    figures = run(tmp_path, "backup", "--mib 1 --users 3 --rate 40 --seconds 0.5 --turns 2")["figures"]
    assert set(figures["held"]) == set(figures["p99_ratios"]) == {"→ 201", "→ client"}
    for label in ("quiet", "backup"):
        assert figures[label]["→ client"]["count"] == figures[label]["→ 201"]["count"] == 2 * 20


def test_reach_has_postgresql_beside_the_peer_and_beside_sqlite(tmp_path: Path) -> None:
    figures = run(tmp_path, "reach", "--users 3 --seconds 0.5 --turns 1 --rate 20")["figures"]
    assert figures["CPU µs/event"]["ratio"] > 0
    assert figures["in process"]["ratio"] > 0
    assert figures["another node"]["posted"] == figures["the same node"]["posted"] == 10
    assert {"database", "node 1", "node 2"} == set(figures["another node"]["cpu_seconds"])


def test_soak_holds_its_users_and_says_that_it_was_too_short_to_tell(tmp_path: Path) -> None:
    plan = "--hours 0.0015 --users 12 --movers 5 --rate 20 --fill 100 --round 1"
    figures = run(tmp_path, "soak", plan)["figures"]
    assert figures["returns"] > 0
    assert figures["events"] > 0
    assert figures["messages"] > 0
    values = figures["samples"][0]["values"]
    assert set(values) == set(figures["judged"])
    assert all(values[name] > 0 for name in ("memory MiB", "descriptors", "tasks", "CPU µs an event"))
    assert {each["grows"] for each in figures["judged"].values()} == {False}


def test_steps_of_both_kinds_of_clients_are_counted(tmp_path: Path) -> None:
    figures = run(tmp_path, "clients", "--clients 2 --rounds 2 --rest 0.1 --turns 1 --steps")["figures"]
    for steps in figures["medians"].values():
        assert list(steps) == ["steps to connect", "steps an event", "steps a ping"]
        assert steps["steps to connect"] > steps["steps an event"] > 0


def test_clients_of_both_kinds_have_the_same_to_do(tmp_path: Path) -> None:
    figures = run(tmp_path, "clients", "--clients 5 --rounds 2 --rest 0.1 --turns 1")["figures"]
    for kind in ("djactors", "python-socketio"):
        assert figures["medians"][kind]["CPU ms to connect"] > 0
        assert figures["medians"][kind]["CPU µs an event"] > 0
    assert all(len(ratios) == 1 for ratios in figures["ratios"].values())


@pytest.mark.skipif(shutil.which("perf") is None or os.geteuid() != 0, reason="needs perf, and root's leave to look")
def test_budget_finds_each_part_of_an_event_in_both_servers(tmp_path: Path) -> None:
    figures = run(tmp_path, "budget", "--users 3 --rate 60 --seconds 0.5 --turns 1 --each")["figures"]
    for server in ("djactors", "floor"):
        parts = figures["parts"][server]
        assert all(part["own"] + part["called"] > 0 for name, part in parts.items() if name != "other threads")
        assert any("fdatasync" in label for label, *_ in figures[f"way of {server}"])


def test_steps_counts_the_same_work_alike(tmp_path: Path) -> None:
    figures = run(tmp_path, "steps", "--users 3 --events 100 --connects 20")["figures"]
    assert list(figures) == ["one at a time", "64 producers", "connecting"]
    alone, together, connecting = (figures[way]["all"]["this build"] for way in figures)
    assert alone > together > 100, "who shares a commit takes fewer steps, and nothing is done for nothing"
    assert connecting > 1000, "a connect is a request, a handshake, a CONNECT, an actor and a look into the database"


def test_start_is_measured_behind_a_kill_beside_an_empty_database(tmp_path: Path) -> None:
    figures = run(tmp_path, "start", "--rows 10000 --starts 1 --seconds 0.2")["figures"]
    for kind in ("killed", "killed, database not cached", "empty database"):
        (took,) = figures[kind]
        assert 0 < took["listening"] < took["posted"] <= took["ready"], kind
        assert (took["log"] > 0) == kind.startswith("killed")
    assert figures["imports"][0] > 0


def test_pace_is_looked_at_beside_the_chores_of_the_server(tmp_path: Path) -> None:
    plan = "--beside checkpoint --beside metrics --beside purge --rate 120 --users 3 --seconds 0.3 --turns 2"
    figures = run(tmp_path, "pace", f"{plan} --publishers 2 --stored 2000")["figures"]
    assert list(figures) == ["checkpoint, 120/s", "metrics, 120/s", "purge, 120/s"]
    assert all(side["count"] == 2 * 60 for row in figures.values() for side in row.values())
