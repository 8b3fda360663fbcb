"""Serves as `djactors serve` does, and counts the steps of Python that it takes.

    python -P bench/counting.py FILE serve …       SIGUSR2 begins to count, the next one ends it and writes FILE

A step is a line that was executed, a function that was called, or a built-in one that was called. What the steps cost
is another matter, and what the kernel does is not in it. But their number hardly depends on how busy the machine is, so
it shows small changes which no clock shows there.
"""

import json
import os
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

Key = tuple[str, str]
"""A file and a function."""


class Counting:
    """The counts, by place. Threads count at once, so one may rarely be lost, which nobody notices in thousands.

    Attributes:
        is_on: whether steps are counted now.
    """

    def __init__(self) -> None:
        self.is_on = False
        self._steps: Counter[Key] = Counter()

    @property
    def steps(self) -> dict[Key, int]:
        """The counts so far."""
        # At once, as other threads may go on counting.
        return self._steps.copy()

    def total(self) -> int:
        """All of them."""
        return sum(self.steps.values())

    def install(self) -> None:
        """Count in this thread and in all that begin from now on, while it is on."""
        threading.settrace(self._trace)
        threading.setprofile(self._profile)
        sys.settrace(self._trace)
        sys.setprofile(self._profile)

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if self.is_on and event in ("line", "call"):
            self._steps[frame.f_code.co_filename, frame.f_code.co_name] += 1
        return self._trace

    def _profile(self, frame: FrameType, event: str, _: Any) -> None:
        if self.is_on and event == "c_call":
            self._steps[frame.f_code.co_filename, frame.f_code.co_name] += 1


def main() -> None:
    """Serve, counting when told to."""
    file = Path(sys.argv.pop(1))
    counting = Counting()

    def switch(*_: object) -> None:
        counting.is_on = not counting.is_on
        if not counting.is_on:
            part = file.with_suffix(".part")
            part.write_text(json.dumps([[*place, steps] for place, steps in counting.steps.items()]))
            part.replace(file)

    signal.signal(signal.SIGUSR2, switch)
    counting.install()
    # Imported after that, so that all threads of the program are counted.
    from djactors.cli import main as serve

    serve()


if __name__ == "__main__":
    # Otherwise the bench's modules would take the names of the server's.
    sys.path[:] = [path for path in sys.path if Path(path or os.curdir).resolve() != Path(__file__).parent]
    main()
