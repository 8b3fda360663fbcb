"""Serves as `djactors serve` does, and measures the longest turns of the loop by three clocks.

    python -P bench/turns.py FILE serve …       `FILE` is made by `Turns`, whose reader is in another process

A turn lasts as long for everybody who waits for it as the clock on the wall says. On a machine that others use, too,
this includes the time in which the kernel ran somebody else. So the time for which the process had a core is measured
beside it: by its own threads together, since the loop waits for them where they hold the interpreter, and by the loop's
thread alone.

With `BENCH_WHERE` in the environment, the places at which the loop was seen in turns of more than so many
milliseconds of CPU are written to standard error. That costs a thread that competes with the loop.
"""

import mmap
import os
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from djactors.loop_lag import LoopLag

TURNS: Final = Path(__file__)
"""The program that serves and measures."""

_LAYOUT: Final = struct.Struct("ddd")


class Longest(NamedTuple):
    """The longest turn by each clock, in seconds; they need not be the same turn."""

    wall: float
    process: float
    thread: float


class Turns:
    """The figures, in a file that both processes map. Create it before the server starts."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        if create:
            path.write_bytes(bytes(_LAYOUT.size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _LAYOUT.size)

    def write(self, longest: Longest) -> None:
        """Publish the figures."""
        _LAYOUT.pack_into(self._map, 0, *longest)

    def read(self) -> Longest:
        """The longest turns since `forget`."""
        return Longest(*_LAYOUT.unpack_from(self._map))

    def forget(self) -> None:
        """Begin anew. A turn that ends at this very moment may be lost."""
        self.write(Longest(0.0, 0.0, 0.0))


class MeasuredLag(LoopLag):
    """The server's instrument, with two more clocks."""

    turns: Turns
    where_from = float(os.environ.get("BENCH_WHERE", "inf")) / 1000

    def __init__(self, timer: Callable[[], float] = time.perf_counter) -> None:
        super().__init__(timer)
        self._process = self._thread = 0.0
        self._seen: list[str] = []
        if self.where_from < 1e9:
            sys.setswitchinterval(0.001)
            threading.Thread(target=self._look, args=(threading.get_ident(),), daemon=True).start()

    def after_io_wait(self, timeout: float) -> None:
        """A turn begins."""
        self._process = time.process_time()
        self._thread = time.thread_time()
        super().after_io_wait(timeout)

    def before_io_wait(self, timeout: float) -> None:
        """The turn is over."""
        if self.began is not None:
            turn = Longest(
                time.perf_counter() - self.began,
                time.process_time() - self._process,
                time.thread_time() - self._thread,
            )
            longest = self.turns.read()
            if any(mine > theirs for mine, theirs in zip(turn, longest, strict=True)):
                self.turns.write(Longest(*map(max, turn, longest)))
            seen, self._seen = self._seen, []
            if turn.thread > self.where_from:
                told = "; ".join(f"{times} x {place}" for place, times in Counter(seen).most_common(8))
                milliseconds = "/".join(f"{1000 * seconds:.1f}" for seconds in turn)
                print(f"TURN wall/process/thread {milliseconds} ms: {told}", file=sys.stderr, flush=True)
        super().before_io_wait(timeout)

    def _look(self, loop: int) -> None:
        while True:
            time.sleep(0.001)
            if self.began is not None and time.perf_counter() - self.began > self.where_from / 3:
                frame = sys._current_frames().get(loop)
                places = []
                while frame is not None and len(places) < 5:
                    code = frame.f_code
                    places.append(f"{Path(code.co_filename).stem}:{frame.f_lineno} {code.co_name}")
                    frame = frame.f_back
                self._seen.append(" < ".join(places))


def main() -> None:
    """Serve, with this instrument in the place of the server's own."""
    import djactors.app
    from djactors.cli import main as serve

    MeasuredLag.turns = Turns(Path(sys.argv.pop(1)))
    djactors.app.LoopLag = MeasuredLag  # type: ignore[misc]
    serve()


if __name__ == "__main__":
    main()
