"""Each benchmark runs on the server as it is, in a tiny size, and reports what was asked for. No figure is asserted."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

RUN_SECONDS = 120


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
    report = run(tmp_path, "latency", plan)
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
