"""`python -m tests.simulation`: see the README beside it."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.history import report
from tests.simulation.plan import draw
from tests.simulation.world import simulate

for seed in range(int(sys.argv[1]), int(sys.argv[2])):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        t = time.perf_counter()
        world = simulate(draw(seed), Path(folder))
        print(seed, f"{time.perf_counter() - t:.2f}s", world.trace.digest, len(world.trace.lines), world.summary())
        if world.findings:
            print(report(world.findings[:6]))
