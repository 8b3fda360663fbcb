"""The benchmark runs on the server as it is, and its report holds what was asked for. No figure is asserted."""

import subprocess
import sys
from pathlib import Path

import msgspec

RUN_SECONDS = 120
PLAN = [
    "--users",
    "3",
    "--rate",
    "40",
    "--seconds",
    "0.5",
    "--warmup",
    "0.1",
    "--connecting-users",
    "5",
    "--publishers",
    "2",
]


def test_latency_delivers_everything_and_reports_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "latency", *PLAN, "--out", str(tmp_path)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (report,) = [msgspec.json.decode(path.read_bytes()) for path in tmp_path.glob("latency-*.json")]
    counts = {label: row["count"] for label, row in report["latencies"].items()}
    assert counts == {
        "connect": 5,
        "notification.requested → 201": 20,
        "notification.requested → client": 20,
        "notification.requested, sent late": 20,
        "job.assigned → 201": 20,
        "job.assigned → client": 20,
        "job.assigned, sent late": 20,
    }
    assert "secret" not in report["settings"]
    assert [path.suffix for path in sorted(tmp_path.iterdir())] == [".json", ".svg"]
