"""`python -m tests.simulation`: see the README beside it."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.history import report
from tests.simulation.plan import draw
from tests.simulation.world import simulate

bad = 0
t0 = time.perf_counter()
for seed in range(int(sys.argv[1]), int(sys.argv[2])):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        t = time.perf_counter()
        try:
            world = simulate(draw(seed), Path(folder))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt): raise
            import traceback
            print(seed, "RAISED", "".join(traceback.format_exception(error))[-1500:])
            continue
        if world.findings or "-v" in sys.argv:
            bad += 1
            print(seed, f"{time.perf_counter() - t:.2f}s", world.trace.digest, len(world.trace.lines), world.summary())
            print(report(world.findings[:4])[:1200])
print(bad, "bad", time.perf_counter() - t0)
